#include <array>

#include "command.hpp"

namespace kv {
namespace {

void erase(call& c) {
  std::int64_t erased = 0;
  for (const std::string_view name : c.words.subspan(1))
    erased += c.all.data.erase(c.all.data.key_of(name));
  c.changed = erased != 0;
  put_integer(c.reply, erased);
}

void exist(call& c) {
  std::int64_t there = 0;
  for (const std::string_view name : c.words.subspan(1))
    there += c.all.data.find(c.all.data.key_of(name)) != nullptr;
  put_integer(c.reply, there);
}

void type(call& c) {
  const record* r = c.all.data.find(c.key);
  static constexpr const char* names[] = {"string", "list", "hash"};
  put_simple(c.reply, r == nullptr ? "none" : names[r->what.index()]);
}

// `unit`: milliseconds of one of the command's; a time of the past erases the key.
void expire(call& c, std::int64_t unit, std::int64_t from) {
  std::int64_t when = integer(c.words[2]);
  if (__builtin_mul_overflow(when, unit, &when) || __builtin_add_overflow(when, from, &when))
    throw command_error("ERR invalid expire time");
  record* r = c.all.data.find(c.key);
  put_integer(c.reply, r != nullptr);
  if (r == nullptr) return;
  if (when <= unix_milliseconds() && c.client != nullptr) {
    c.all.data.erase(c.key);
    return c.log_instead(std::array<std::string_view, 2>{"DEL", c.words[1]});
  }
  c.all.data.expire(c.key, *r, std::max<std::int64_t>(when, 1));
  const std::string text = std::to_string(when);
  c.log_instead(std::array<std::string_view, 3>{"PEXPIREAT", c.words[1], text});
}
void expire_in_seconds(call& c) { expire(c, 1000, unix_milliseconds()); }
void expire_in_milliseconds(call& c) { expire(c, 1, unix_milliseconds()); }
void expire_at_second(call& c) { expire(c, 1000, 0); }
void expire_at_millisecond(call& c) { expire(c, 1, 0); }

// -2: no such key; -1: it stays.
std::int64_t milliseconds_left(call& c) {
  const record* r = c.all.data.find(c.key);
  if (r == nullptr) return -2;
  if (r->expires == 0) return -1;
  return std::max<std::int64_t>(r->expires - unix_milliseconds(), 0);
}
void time_left(call& c) {
  const std::int64_t n = milliseconds_left(c);
  put_integer(c.reply, n < 0 ? n : (n + 500) / 1000);
}
void precise_time_left(call& c) { put_integer(c.reply, milliseconds_left(c)); }

void persist(call& c) {
  record* r = c.all.data.find(c.key);
  c.changed = r != nullptr && r->expires != 0;
  if (c.changed) c.all.data.expire(c.key, *r, 0);
  put_integer(c.reply, c.changed);
}

// Keys of one shard, under its lock.
std::size_t collect(call& c, shard& s, std::string_view pattern, std::string& to) {
  std::size_t found = 0;
  const std::int64_t now = unix_milliseconds();
  const std::lock_guard locked(s.lock);
  s.entries.for_each([&](const record& r) {
    if ((r.expires != 0 && r.expires <= now) || !matches(pattern, r.name)) return;
    put_bulk(to, r.name);
    ++found;
  });
  c.shows = std::max(c.shows, s.logged);
  return found;
}

void keys(call& c) {
  std::string found;
  std::size_t count = 0;
  for (shard& s : c.all.data.all()) count += collect(c, s, c.words[1], found);
  put_array(c.reply, count);
  c.reply += found;
}

// The cursor is the next shard. COUNT is a hint: a shard is told as a whole, so that a key that is
// there all the time is met, whatever else comes and goes.
void scan(call& c) {
  const std::int64_t cursor = integer(c.words[1]);
  std::int64_t wanted = 10;
  std::string_view pattern = "*";
  for (std::size_t i = 2; i < c.words.size(); i += 2) {
    if (i + 1 == c.words.size()) throw command_error("ERR syntax error");
    if (equal_words(c.words[i], "MATCH"))
      pattern = c.words[i + 1];
    else if (equal_words(c.words[i], "COUNT"))
      wanted = integer(c.words[i + 1]);
    else
      throw command_error("ERR syntax error");
  }
  if (wanted < 1) throw command_error("ERR syntax error");
  if (cursor < 0) throw command_error("ERR invalid cursor");
  auto& all = c.all.data.all();
  std::string found;
  std::size_t count = 0, next = static_cast<std::size_t>(cursor);
  while (next < all.size() && count < static_cast<std::size_t>(wanted))
    count += collect(c, all[next++], pattern, found);
  put_array(c.reply, 2);
  put_bulk(c.reply, next >= all.size() ? "0" : std::to_string(next));
  put_array(c.reply, count);
  c.reply += found;
}

void count(call& c) {
  std::size_t n = 0;
  for (shard& s : c.all.data.all()) {
    const std::lock_guard locked(s.lock);
    n += s.entries.size();
  }
  put_integer(c.reply, static_cast<std::int64_t>(n));
}

void clear(call& c) {
  for (shard& s : c.all.data.all()) c.all.data.clear(s);
  c.log_instead(std::array<std::string_view, 1>{"FLUSHALL"});
  put_simple(c.reply, "OK");
}

}  // namespace

std::span<const command> key_commands() {
  static constexpr auto reads = command::reads, writes = command::writes;
  static constexpr command all[] = {
      {"DEL", -2, all_keys, writes, erase},
      {"UNLINK", -2, all_keys, writes, erase},
      {"EXISTS", -2, all_keys, reads, exist},
      {"TYPE", 2, one_key, reads, type},
      {"EXPIRE", 3, one_key, writes, expire_in_seconds},
      {"PEXPIRE", 3, one_key, writes, expire_in_milliseconds},
      {"EXPIREAT", 3, one_key, writes, expire_at_second},
      {"PEXPIREAT", 3, one_key, writes, expire_at_millisecond},
      {"TTL", 2, one_key, reads, time_left},
      {"PTTL", 2, one_key, reads, precise_time_left},
      {"PERSIST", 2, one_key, writes, persist},
      {"KEYS", 2, no_key, reads, keys},
      {"SCAN", -2, no_key, reads, scan},
      {"DBSIZE", 1, no_key, reads, count},
      {"FLUSHALL", -1, every_shard, writes, clear},
      {"FLUSHDB", -1, every_shard, writes, clear},
  };
  return all;
}

}  // namespace kv
