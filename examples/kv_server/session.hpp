// One connection: requests in, replies out.
#pragma once
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <coir/coir.hpp>

#include "command.hpp"
#include "pubsub.hpp"
#include "resp.hpp"
#include "server.hpp"

namespace kv {

// All that has come is carried out, and all replies go out in one write; meanwhile nothing more is
// read, so a client that does not read its replies holds up itself alone.
class session {
 public:
  session(server_state& all, coir::tcp_stream stream);
  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  void serve();

  // For commands, which run on this connection's fiber.
  bool begin_subscription(std::string_view channel);  // whether there was none
  void join(std::string_view channel);                // sends what stands before, then listens
  bool unsubscribe(std::string_view channel);
  std::size_t subscriptions() const noexcept { return channels_.size(); }
  const std::set<std::string, std::less<>>& channels() const noexcept { return channels_; }
  void quit() noexcept { quits_ = true; }

 private:
  bool receive();
  void make_room();
  void execute();
  void execute(const command&, call&);
  void send();
  void settle();
  void send_rest() noexcept;
  void wait_for_item(waiting_pop&);
  void watch_for_end(waiting_pop&);
  void time_reads(bool);
  void note_shown(std::size_t begin, std::uint64_t position);
  void reject(const char* why);
  void say(const char* what) const;

  server_state& all_;
  coir::tcp_stream stream_;
  std::string peer_;  // asked for while it is connected: a line may tell of it later
  request_parser parser_;
  std::vector<char> in_;  // [begin_, end_): what has come and is to be carried out
  std::size_t begin_ = 0, end_ = 0;
  std::string out_;
  std::size_t sent_ = 0;  // of out_

  // With `always`: replies in out_ that tell what may not be on the disk, and where they begin.
  struct unsafe_reply {
    std::size_t begin, end;
    std::uint64_t position;
  };
  std::vector<unsafe_reply> unsafe_;
  std::uint64_t shown_ = 0;  // the position before which all stands that replies in out_ tell

  std::string last_name_;  // of a command: most requests are like the one before
  const command* last_ = nullptr;
  bool timed_ = false;  // the stream has a read deadline
  bool quits_ = false;

  std::set<std::string, std::less<>> channels_;
  std::unique_ptr<subscriber> subscriber_;  // from the first subscription on; then all goes by it
  coir::task<void> sender_;
};

}  // namespace kv
