#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "command.hpp"

namespace kv {
namespace {

void push(call& c, bool first) {
  list& items = make<list>(c, c.key);
  for (const std::string_view item : c.words.subspan(2))
    first ? static_cast<void>(items.emplace_front(item))
          : static_cast<void>(items.emplace_back(item));
  c.changed = c.pushed = true;
  put_integer(c.reply, static_cast<std::int64_t>(items.size()));
}
void push_first(call& c) { push(c, true); }
void push_last(call& c) { push(c, false); }

// A list without items is no list.
std::string take(call& c, const key& k, list& items, bool first) {
  std::string item = std::move(first ? items.front() : items.back());
  first ? items.pop_front() : items.pop_back();
  if (items.empty()) c.all.data.erase(k);
  return item;
}

void pop(call& c, bool first) {
  if (c.words.size() > 3) throw command_error("ERR syntax error");
  const bool many = c.words.size() == 3;
  const std::int64_t wanted = many ? integer(c.words[2]) : 1;
  if (wanted < 0) throw command_error("ERR value is out of range, it must be positive");
  list* items = find<list>(c, c.key);
  if (items == nullptr) return many ? put_null_array(c.reply) : put_null(c.reply);
  const std::size_t n = std::min(items->size(), static_cast<std::size_t>(wanted));
  if (many) put_array(c.reply, n);
  c.changed = n != 0;
  for (std::size_t i = 0; i < n; ++i) put_bulk(c.reply, take(c, c.key, *items, first));
}
void pop_first(call& c) { pop(c, true); }
void pop_last(call& c) { pop(c, false); }

void length(call& c) {
  const list* items = find<list>(c, c.key);
  put_integer(c.reply, items != nullptr ? static_cast<std::int64_t>(items->size()) : 0);
}

// Negative: from the end. The last one is included.
void range(call& c) {
  std::int64_t from = integer(c.words[2]), to = integer(c.words[3]);
  const list* items = find<list>(c, c.key);
  const auto size = items != nullptr ? static_cast<std::int64_t>(items->size()) : 0;
  if (from < 0) from = std::max<std::int64_t>(from + size, 0);
  if (to < 0) to += size;
  to = std::min(to, size - 1);
  if (from > to) return put_array(c.reply, 0);
  put_array(c.reply, static_cast<std::size_t>(to - from + 1));
  for (auto it = items->begin() + from; from <= to; ++from) put_bulk(c.reply, *it++);
}

coir::clock::time_point parse_timeout(std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(seconds))
    throw command_error("ERR timeout is not a number of seconds, or out of range");
  if (seconds < 0) throw command_error("ERR timeout is negative");
  if (seconds == 0 || seconds > 1e9) return coir::clock::time_point::max();
  return coir::clock::now() +
         std::chrono::duration_cast<coir::clock::duration>(std::chrono::duration<double>(seconds));
}

// The first list that has an item gives it. If none has, the client waits in the queues of them
// all.
void pop_or_wait(call& c, bool first) {
  const auto until = parse_timeout(c.words.back());
  const kv::words names = c.words.subspan(1, c.words.size() - 2);
  store& data = c.all.data;
  for (const std::string_view name : names) {
    const key k = data.key_of(name);
    list* items = find<list>(c, k);
    if (items == nullptr) continue;
    put_array(c.reply, 2);
    put_bulk(c.reply, name);
    put_bulk(c.reply, take(c, k, *items, first));
    return c.log_instead(std::array<std::string_view, 2>{first ? "LPOP" : "RPOP", name});
  }
  c.all.waiting.fetch_add(1);
  c.waits = std::make_unique<waiting_pop>();
  c.waits->first = first;
  c.waits->until = until;
  for (const std::string_view name : names) {
    c.waits->keys.emplace_back(name);
    data.shard_of(data.key_of(name)).waiting[std::string(name)].push_back(c.waits.get());
  }
}
void pop_first_or_wait(call& c) { pop_or_wait(c, true); }
void pop_last_or_wait(call& c) { pop_or_wait(c, false); }

}  // namespace

std::span<const command> list_commands() {
  static constexpr auto reads = command::reads, writes = command::writes;
  static constexpr command::key_places all_but_one{1, -2, 1};
  static constexpr command all[] = {
      {"LPUSH", -3, one_key, writes, push_first},
      {"RPUSH", -3, one_key, writes, push_last},
      {"LPOP", -2, one_key, writes, pop_first},
      {"RPOP", -2, one_key, writes, pop_last},
      {"LLEN", 2, one_key, reads, length},
      {"LRANGE", 4, one_key, reads, range},
      {"BLPOP", -3, all_but_one, writes, pop_first_or_wait},
      {"BRPOP", -3, all_but_one, writes, pop_last_or_wait},
  };
  return all;
}

}  // namespace kv
