#include <charconv>

#include "command.hpp"

namespace kv {
namespace {

std::string& field(hash_table& t, std::string_view name) {
  const auto found = t.find(name);
  return found != t.end() ? found->second : t[std::string(name)];
}

void set(call& c) {
  if (c.words.size() % 2 != 0)
    throw command_error("ERR wrong number of arguments for 'hset' command");
  hash_table& t = make<hash_table>(c, c.key);
  const std::size_t before = t.size();
  for (std::size_t i = 2; i < c.words.size(); i += 2) field(t, c.words[i]) = c.words[i + 1];
  c.changed = true;
  put_integer(c.reply, static_cast<std::int64_t>(t.size() - before));
}

void get(call& c) {
  const hash_table* t = find<hash_table>(c, c.key);
  if (t == nullptr) return put_null(c.reply);
  const auto found = t->find(c.words[2]);
  found != t->end() ? put_bulk(c.reply, found->second) : put_null(c.reply);
}

void erase(call& c) {
  hash_table* t = find<hash_table>(c, c.key);
  std::int64_t erased = 0;
  for (std::size_t i = 2; t != nullptr && i < c.words.size(); ++i)
    if (const auto found = t->find(c.words[i]); found != t->end()) t->erase(found), ++erased;
  if (t != nullptr && t->empty()) c.all.data.erase(c.key);  // without fields it is no hash
  c.changed = erased != 0;
  put_integer(c.reply, erased);
}

void get_all(call& c) {
  const hash_table* t = find<hash_table>(c, c.key);
  if (t == nullptr) return put_array(c.reply, 0);
  put_array(c.reply, 2 * t->size());
  for (const auto& [name, text] : *t) {
    put_bulk(c.reply, name);
    put_bulk(c.reply, text);
  }
}

void length(call& c) {
  const hash_table* t = find<hash_table>(c, c.key);
  put_integer(c.reply, t != nullptr ? static_cast<std::int64_t>(t->size()) : 0);
}

void contains(call& c) {
  const hash_table* t = find<hash_table>(c, c.key);
  put_integer(c.reply, t != nullptr && t->contains(c.words[2]));
}

void increment_by(call& c) {
  const std::int64_t n = integer(c.words[3]);
  std::int64_t sum = 0;
  if (const hash_table* t = find<hash_table>(c, c.key))
    if (const auto found = t->find(c.words[2]); found != t->end()) sum = integer(found->second);
  add_checked(sum, n);
  field(make<hash_table>(c, c.key), c.words[2]) = std::to_string(sum);
  c.changed = true;
  put_integer(c.reply, sum);
}

}  // namespace

std::span<const command> hash_commands() {
  static constexpr auto reads = command::reads, writes = command::writes;
  static constexpr command all[] = {
      {"HSET", -4, one_key, writes, set},
      {"HGET", 3, one_key, reads, get},
      {"HDEL", -3, one_key, writes, erase},
      {"HGETALL", 2, one_key, reads, get_all},
      {"HLEN", 2, one_key, reads, length},
      {"HEXISTS", 3, one_key, reads, contains},
      {"HINCRBY", 4, one_key, writes, increment_by},
  };
  return all;
}

}  // namespace kv
