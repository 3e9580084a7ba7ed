#include <array>
#include <charconv>

#include "command.hpp"

namespace kv {
namespace {

// Without the memory of a much bigger one before it.
void assign(std::string& to, std::string_view text) {
  if (to.capacity() > 2 * text.size() + 64) to = std::string();
  to = text;
}

void assign(call& c, const key& k, std::string_view text) {
  record& r = c.all.data.make(k);
  if (auto* old = std::get_if<std::string>(&r.what))
    assign(*old, text);
  else
    r.what = std::string(text);
  if (r.expires != 0) c.all.data.expire(k, r, 0);
  c.changed = true;
}

void get(call& c) {
  if (const std::string* s = find<std::string>(c, c.key))
    put_bulk(c.reply, *s);
  else
    put_null(c.reply);
}

// What SET is told behind the value.
struct set_options {
  bool if_new = false, if_there = false, keep_expiry = false;
  std::optional<std::int64_t> expires;

  void parse(kv::words w) {
    for (std::size_t i = 3; i < w.size(); ++i) {
      if (equal_words(w[i], "NX"))
        if_new = true;
      else if (equal_words(w[i], "XX"))
        if_there = true;
      else if (equal_words(w[i], "KEEPTTL"))
        keep_expiry = true;
      else if (!expires && i + 1 < w.size())
        expires = parse_time(w[i], w[i + 1]), ++i;
      else
        throw command_error("ERR syntax error");
    }
    if ((if_new && if_there) || (keep_expiry && expires)) throw command_error("ERR syntax error");
  }

 private:
  static std::int64_t parse_time(std::string_view unit, std::string_view text) {
    const bool seconds = equal_words(unit, "EX") || equal_words(unit, "EXAT");
    const bool at = equal_words(unit, "EXAT") || equal_words(unit, "PXAT");
    if (!seconds && !at && !equal_words(unit, "PX")) throw command_error("ERR syntax error");
    std::int64_t n = integer(text);
    if (n <= 0 || (seconds && __builtin_mul_overflow(n, 1000, &n)) ||
        (!at && __builtin_add_overflow(n, unix_milliseconds(), &n)))
      throw command_error("ERR invalid expire time in 'set' command");
    return n;
  }
};

void set_with_options(call& c) {
  set_options o;
  o.parse(c.words);
  const record* there = c.all.data.find(c.key);
  if (there != nullptr ? o.if_new : o.if_there) return put_null(c.reply);
  const std::int64_t kept = there != nullptr && o.keep_expiry ? there->expires : 0;
  const std::int64_t expires = o.expires.value_or(kept);
  assign(c, c.key, c.words[2]);
  put_simple(c.reply, "OK");
  if (expires == 0) return c.log_instead(std::array{c.words[0], c.words[1], c.words[2]});
  c.all.data.expire(c.key, c.all.data.make(c.key), expires);
  const std::string when = std::to_string(expires);
  c.log_instead(std::array<std::string_view, 5>{"SET", c.words[1], c.words[2], "PXAT", when});
}

void set(call& c) {
  if (c.words.size() > 3) return set_with_options(c);
  assign(c, c.key, c.words[2]);
  put_simple(c.reply, "OK");
}

void set_if_new(call& c) {
  const bool is_new = c.all.data.find(c.key) == nullptr;
  if (is_new) assign(c, c.key, c.words[2]);
  put_integer(c.reply, is_new);
}

void get_and_set(call& c) {
  get(c);
  assign(c, c.key, c.words[2]);
}

void append(call& c) {
  std::string& s = make<std::string>(c, c.key);
  s += c.words[2];
  c.changed = true;
  put_integer(c.reply, static_cast<std::int64_t>(s.size()));
}

void length(call& c) {
  const std::string* s = find<std::string>(c, c.key);
  put_integer(c.reply, s != nullptr ? static_cast<std::int64_t>(s->size()) : 0);
}

void add(call& c, std::int64_t n) {
  const std::string* old = find<std::string>(c, c.key);
  std::int64_t sum = old != nullptr ? integer(*old) : 0;
  add_checked(sum, n);
  char text[24];
  char* const end = std::to_chars(text, text + sizeof text, sum).ptr;
  make<std::string>(c, c.key).assign(text, static_cast<std::size_t>(end - text));
  c.changed = true;
  put_integer(c.reply, sum);
}
void increment(call& c) { add(c, 1); }
void decrement(call& c) { add(c, -1); }
void increment_by(call& c) { add(c, integer(c.words[2])); }
void decrement_by(call& c) {
  const std::int64_t n = integer(c.words[2]);
  if (n == INT64_MIN) throw command_error("ERR the result would overflow");
  add(c, -n);
}

void get_many(call& c) {
  put_array(c.reply, c.words.size() - 1);
  for (const std::string_view name : c.words.subspan(1)) {
    const record* r = c.all.data.find(c.all.data.key_of(name));
    const std::string* s = r != nullptr ? std::get_if<std::string>(&r->what) : nullptr;
    s != nullptr ? put_bulk(c.reply, *s) : put_null(c.reply);
  }
}

void set_many(call& c) {
  if (c.words.size() % 2 == 0)
    throw command_error("ERR wrong number of arguments for 'mset' command");
  for (std::size_t i = 1; i < c.words.size(); i += 2)
    assign(c, c.all.data.key_of(c.words[i]), c.words[i + 1]);
  put_simple(c.reply, "OK");
}

}  // namespace

std::span<const command> string_commands() {
  static constexpr auto reads = command::reads, writes = command::writes;
  static constexpr command::key_places every_second{1, -1, 2};
  static constexpr command all[] = {
      {"GET", 2, one_key, reads, get},
      {"SET", -3, one_key, writes, set},
      {"SETNX", 3, one_key, writes, set_if_new},
      {"GETSET", 3, one_key, writes, get_and_set},
      {"APPEND", 3, one_key, writes, append},
      {"STRLEN", 2, one_key, reads, length},
      {"INCR", 2, one_key, writes, increment},
      {"DECR", 2, one_key, writes, decrement},
      {"INCRBY", 3, one_key, writes, increment_by},
      {"DECRBY", 3, one_key, writes, decrement_by},
      {"MGET", -2, all_keys, reads, get_many},
      {"MSET", -3, every_second, writes, set_many},
  };
  return all;
}

}  // namespace kv
