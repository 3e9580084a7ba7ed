// What websocket_chat's guests have in common: who is there, and the last lines.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include <coir/coir.hpp>

namespace chat {

using line = std::shared_ptr<const std::string>;  // one for all who get it

// One who is there, as seen by the others: they leave lines for it, and never wait.
class guest {
 public:
  explicit guest(coir::tcp_stream& stream, std::size_t most) : stream_(stream), most_(most) {}

  // More than it may leave unread, and it is cut off.
  void leave(line l) {
    {
      const std::lock_guard held(lock_);
      if (waiting_.size() >= most_) overflowed_ = true;
      if (!overflowed_) waiting_.push_back(std::move(l));
    }
    more_.notify_one();
    if (!overflowed_) return;
    stream_.set_read_deadline(coir::clock::time_point());  // closing might wait
    stream_.set_write_deadline(coir::clock::time_point());
  }
  // Null: none has come until then, or the room is closed.
  line next(coir::clock::time_point patience_ends) {
    more_.wait_until(patience_ends);
    const std::lock_guard held(lock_);
    if (waiting_.empty()) return nullptr;
    line l = std::move(waiting_.front());
    waiting_.pop_front();
    if (!waiting_.empty() || dismissed_) more_.notify_one();
    return l;
  }
  void dismiss() {
    dismissed_ = true;
    more_.notify_one();
  }
  bool dismissed() const noexcept { return dismissed_; }
  bool overflowed() const noexcept { return overflowed_; }

 private:
  coir::tcp_stream& stream_;
  const std::size_t most_;
  std::mutex lock_;
  std::deque<line> waiting_;
  coir::notifier more_;
  std::atomic<bool> dismissed_{false}, overflowed_{false};
};

inline std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    char code[8];
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out.append(code, static_cast<std::size_t>(std::snprintf(code, sizeof code, "\\u%04x", c)));
    else
      out += c;
  }
  return out += '"';
}

class room {
 public:
  explicit room(std::size_t kept) : kept_(kept) {}

  // The last lines first, then all that come: none is missing, and none there twice.
  void enter(guest& g) {
    const std::lock_guard held(lock_);
    for (const line& l : last_) g.leave(l);
    guests_.insert(&g);
    if (closed_) g.dismiss();
  }
  void leave(guest& g) {
    const std::lock_guard held(lock_);
    guests_.erase(&g);
  }
  void say(std::string_view from, std::string_view text) {  // from: empty: the room itself
    using namespace std::chrono;
    const auto at = duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
    const auto l = std::make_shared<const std::string>("{\"at\": " + std::to_string(at) +
                                                       ", \"from\": " + json_string(from) +
                                                       ", \"text\": " + json_string(text) + "}");
    const std::lock_guard held(lock_);
    last_.push_back(l);
    if (last_.size() > kept_) last_.pop_front();
    for (guest* g : guests_) g->leave(l);
  }
  void close() {
    const std::lock_guard held(lock_);
    closed_ = true;
    for (guest* g : guests_) g->dismiss();
  }

 private:
  const std::size_t kept_;
  std::mutex lock_;  // native: nobody waits while he holds it
  std::deque<line> last_;
  std::set<guest*> guests_;
  bool closed_ = false;
};

}  // namespace chat
