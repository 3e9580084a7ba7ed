// Commands: what one gets, what it leaves behind, and how one is run.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <coir/coir.hpp>

#include "resp.hpp"
#include "server.hpp"
#include "store.hpp"

namespace kv {

class session;
using words = std::span<const std::string_view>;

// A reply of its own: begins with its code. Thrown before anything is changed.
struct command_error : std::runtime_error {
  using runtime_error::runtime_error;
};

// A client that waits for an item of one of some lists. It stands in the queues of their shards;
// who claims it gives it the item, under the lock of the shard, which it takes itself to leave the
// queue: so nobody has it in his hands any more when it goes.
struct waiting_pop {
  std::vector<std::string> keys;
  bool first = true;  // the item to take: the first, or the last
  coir::clock::time_point until;
  std::atomic<bool> claimed{false};  // by who gives, or by itself when it gives up
  std::string key, item;             // given, before `given` is set
  std::uint64_t shows = 0;
  coir::event given;
};

struct call {
  server_state& all;
  session* client;           // null: the log is read
  kv::words words;           // the command's name first
  std::string_view encoded;  // the request as it came; may be empty
  std::string& reply;

  // Of a command with keys: the first one. The locks of the shards of all of them are held.
  kv::key key{};

  // For the command to fill in.
  bool changed = false;                  // so it goes into the log:
  std::string instead{};                 // in these words (encoded), or as it came
  bool pushed = false;                   // who waits for an item of the list `key` may be served
  std::unique_ptr<waiting_pop> waits{};  // it has not been replied to: the connection is to wait

  std::uint64_t shows = 0;  // what the reply tells stands before this position of the log

  void log_instead(kv::words w) {
    instead.clear();
    put_request(instead, w);
    changed = true;
  }
};

struct command {
  std::string_view name;  // in capitals
  int arity;              // words, its name included; negative: at least so many
  struct key_places {     // which words are keys, as Redis tells it; last < 0: from the end
    int first, last, step;
  } keys;
  enum kind : std::uint8_t { reads, writes, of_subscribers } kind;
  void (*run)(call&);
};
constexpr command::key_places no_key{0, 0, 0}, one_key{1, 1, 1}, all_keys{1, -1, 1},
    every_shard{-1, 0, 0};

// Null: there is none.
const command* find_command(std::string_view name);
std::span<const command* const> all_commands();

void run(const command&, call&);
void leave_queues(store&, waiting_pop&);

// Of each file with commands:
std::span<const command> string_commands();
std::span<const command> key_commands();
std::span<const command> list_commands();
std::span<const command> hash_commands();
std::span<const command> server_commands();

// For commands.
std::int64_t integer(std::string_view);  // throws command_error
bool equal_words(std::string_view word, std::string_view capitals);
void add_checked(std::int64_t& to, std::int64_t n);  // throws command_error
bool matches(std::string_view pattern,
             std::string_view text);  // *, ?, [a-c], [^a], and a backslash

// The value of a key, if it is there and of that type; null: it is not there.
template <class T>
T* find(call& c, const key& k) {
  record* r = c.all.data.find(k);
  if (r == nullptr) return nullptr;
  T* found = nullptr;
  if constexpr (std::is_same_v<T, std::string>) {
    found = std::get_if<std::string>(&r->what);
  } else if (auto* held = std::get_if<std::unique_ptr<T>>(&r->what)) {
    found = held->get();
  }
  if (found == nullptr) throw command_error("WRONGTYPE the key holds a value of another type");
  return found;
}
template <class T>
T& make(call& c, const key& k) {
  if (T* found = find<T>(c, k)) return *found;
  value& v = c.all.data.make(k).what;
  if constexpr (std::is_same_v<T, std::string>)
    return std::get<T>(v);
  else
    return *v.emplace<std::unique_ptr<T>>(std::make_unique<T>());
}

}  // namespace kv
