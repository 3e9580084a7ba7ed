// The data: keys in shards, each under a lock of its own.
//
// Why locks, and not a shard for each worker that only its fibers touch: a command takes some 100
// ns, and sending it to another worker and the answer back costs several times that, for all but
// one in N of them; a lock that hardly anybody contends for costs 10 ns. Nobody waits (for the
// disk, for a client) while he holds one, so they are native locks. A command with several keys
// takes the locks of all their shards, in the order of their addresses, and so is atomic; so does
// the log see the commands on a key in the order in which they happened.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>

#include "key_table.hpp"

namespace kv {

class append_log;
struct waiting_pop;

struct alignas(64) shard {
  std::mutex lock;  // of all the rest
  key_table entries;
  std::set<std::pair<std::int64_t, record*>> expiring;  // those that will
  // Those who wait for an item of a list, first come first served; no key without any.
  std::unordered_map<std::string, std::deque<waiting_pop*>, seeded_hash, std::equal_to<>> waiting;
  std::uint64_t logged = 0;  // the log's position behind the last change of this shard
};

std::int64_t unix_milliseconds();

// A call that names a key needs the lock of the key's shard.
class store {
 public:
  static constexpr unsigned shard_bits = 5;

  explicit store(append_log* log) : log_(log) {}  // null: none

  key key_of(std::string_view text) const { return {text, seeded_hash{}(text)}; }
  shard& shard_of(const key& k) noexcept { return shards_[k.hash >> (64 - shard_bits)]; }
  std::array<shard, 1 << shard_bits>& all() noexcept { return shards_; }

  record* find(const key&);  // null: there is none, or its time has come and it is erased
  record& make(const key&);  // the one there is, or a new empty string
  bool erase(const key&);    // whether there was one
  void erase(shard&, record&);
  void clear(shard&);
  void expire(const key&, record&, std::int64_t when);  // 0: never

  void expire_due();  // all whose time has come, under one lock after the other; no fiber waits
  void log(shard&, std::string_view record);           // a change of this shard
  void set_loading(bool l) noexcept { loading_ = l; }  // while the log is read nothing expires

  std::atomic<std::uint64_t> expired{0};  // so far

 private:
  void erase_expired(shard&, record&);

  append_log* const log_;
  bool loading_ = false;
  std::array<shard, 1 << shard_bits> shards_;
};

}  // namespace kv
