// Channels, and those who listen to them.
#pragma once
#include <atomic>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <coir/coir.hpp>

namespace kv {

// All that goes to a client who has subscribed: messages, and the replies to what it asks. Whoever
// has something for it leaves it here and never waits; a fiber of the connection's sends. A client
// that leaves more than `limit` bytes unread is cut off.
class subscriber {
 public:
  subscriber(coir::tcp_stream& stream, std::size_t limit)
      : stream_(stream), limit_(limit), out_(stream, limit) {}

  void push(std::string_view bytes);  // any fiber or thread
  void send();                        // for ever, or until the stream fails
  void flush();                       // what is there now; not beside send()
  bool overflowed() const noexcept { return overflowed_.load(); }

 private:
  void end_stream();

  coir::tcp_stream& stream_;
  const std::size_t limit_;
  coir::writer<coir::tcp_stream> out_;
  coir::notifier more_;
  std::atomic<bool> overflowed_{false};
};

class hub {
 public:
  void join(std::string_view channel, subscriber&);
  void leave(std::string_view channel, subscriber&);
  std::size_t publish(std::string_view channel, std::string_view text);  // how many got it
  std::size_t channels() const;

 private:
  struct text_hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  mutable std::mutex lock_;  // native: for the time of copying a message to those who listen
  std::unordered_map<std::string, std::vector<subscriber*>, text_hash, std::equal_to<>> channels_;
};

}  // namespace kv
