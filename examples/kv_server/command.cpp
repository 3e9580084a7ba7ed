#include "command.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

namespace kv {
namespace {

constexpr std::size_t longest_name = 16;

struct command_table {
  std::unordered_map<std::string_view, const command*> by_name;
  std::vector<const command*> all;

  command_table() {
    for (const auto group :
         {string_commands(), key_commands(), list_commands(), hash_commands(), server_commands()})
      for (const command& c : group) {
        by_name.emplace(c.name, &c);
        all.push_back(&c);
      }
  }
};
const command_table& table() {
  static const command_table t;
  return t;
}

char capital(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }

std::string lower(std::string_view name) {
  std::string text(name);
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

void check(const command& what, const call& c) {
  const auto n = static_cast<int>(c.words.size());
  if (what.arity > 0 ? n != what.arity : n < -what.arity)
    throw command_error("ERR wrong number of arguments for '" + lower(what.name) + "' command");
  if (what.kind == command::writes && c.client != nullptr && c.all.log != nullptr &&
      c.all.log->failing())
    throw command_error("MISCONF the append-only file cannot be written: " +
                        c.all.log->failure().message());
}

// Lock held: the items of a list go to those who wait for them.
void serve_waiting(store& data, const key& k) {
  shard& s = data.shard_of(k);
  const auto queue = s.waiting.find(k.text);
  if (queue == s.waiting.end()) return;
  for (record* r = data.find(k); r != nullptr && !queue->second.empty();) {
    list& items = *std::get<std::unique_ptr<list>>(r->what);
    waiting_pop& w = *queue->second.front();
    queue->second.pop_front();
    if (w.claimed.exchange(true)) continue;
    w.key = k.text;
    w.item = std::move(w.first ? items.front() : items.back());
    w.first ? items.pop_front() : items.pop_back();
    std::string pop;
    put_request(pop, std::array<std::string_view, 2>{w.first ? "LPOP" : "RPOP", k.text});
    data.log(s, pop);
    w.shows = s.logged;
    w.given.set();
    if (!items.empty()) continue;
    data.erase(s, *r);
    r = nullptr;
  }
  if (queue->second.empty()) s.waiting.erase(queue);
}

// The locks of these shards are held.
void run_locked(const command& what, call& c, std::span<shard* const> shards) {
  store& data = c.all.data;
  what.run(c);
  if (c.changed && c.all.log != nullptr) {
    if (c.instead.empty() && c.encoded.empty()) c.log_instead(c.words);
    data.log(*shards[0], c.instead.empty() ? c.encoded : std::string_view(c.instead));
    for (shard* s : shards) s->logged = shards[0]->logged;
  }
  if (c.pushed) serve_waiting(data, c.key);
  for (const shard* s : shards) c.shows = std::max(c.shows, s->logged);
}

struct locks {
  explicit locks(std::vector<shard*> s) : shards(std::move(s)) {
    std::sort(shards.begin(), shards.end());
    shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
    for (shard* one : shards) one->lock.lock();
  }
  ~locks() {
    for (shard* one : shards) one->lock.unlock();
  }
  locks(const locks&) = delete;
  locks& operator=(const locks&) = delete;
  std::vector<shard*> shards;
};

std::vector<shard*> shards_of(const command& what, call& c) {
  std::vector<shard*> all;
  if (what.keys.first < 0) {
    for (shard& s : c.all.data.all()) all.push_back(&s);
    return all;
  }
  const int count = static_cast<int>(c.words.size());
  const int last = what.keys.last < 0 ? count + what.keys.last : what.keys.last;
  for (int i = what.keys.first; i <= last; i += what.keys.step)
    all.push_back(&c.all.data.shard_of(c.all.data.key_of(c.words[static_cast<std::size_t>(i)])));
  return all;
}

void run_checked(const command& what, call& c) {
  if (what.keys.first == 0) return what.run(c);
  if (what.keys.first > 0) c.key = c.all.data.key_of(c.words[1]);
  if (what.keys.first > 0 && what.keys.last == 1) {
    shard* const s = &c.all.data.shard_of(c.key);
    const std::lock_guard locked(s->lock);
    return run_locked(what, c, {&s, 1});
  }
  const locks held(shards_of(what, c));
  run_locked(what, c, held.shards);
}

}  // namespace

const command* find_command(std::string_view name) {
  char capitals[longest_name];
  if (name.size() > longest_name) return nullptr;
  std::transform(name.begin(), name.end(), capitals, capital);
  const auto found = table().by_name.find({capitals, name.size()});
  return found == table().by_name.end() ? nullptr : found->second;
}

std::span<const command* const> all_commands() { return table().all; }

void run(const command& what, call& c) {
  const std::size_t before = c.reply.size();
  try {
    check(what, c);
    run_checked(what, c);
  } catch (const command_error& e) {
    c.reply.resize(before);
    put_error(c.reply, e.what());
  }
}

void leave_queues(store& data, waiting_pop& w) {
  for (const std::string& text : w.keys) {
    shard& s = data.shard_of(data.key_of(text));
    const std::lock_guard locked(s.lock);
    const auto queue = s.waiting.find(text);
    if (queue == s.waiting.end()) continue;
    std::erase(queue->second, &w);
    if (queue->second.empty()) s.waiting.erase(queue);
  }
}

std::int64_t integer(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const bool canonical = text == "0" || (!text.starts_with('0') && !text.starts_with("-0"));
  if (error != std::errc() || end != text.data() + text.size() || !canonical)
    throw command_error("ERR value is not an integer or out of range");
  return n;
}

void add_checked(std::int64_t& to, std::int64_t n) {
  if (__builtin_add_overflow(to, n, &to)) throw command_error("ERR the result would overflow");
}

bool equal_words(std::string_view word, std::string_view capitals) {
  return std::equal(word.begin(), word.end(), capitals.begin(), capitals.end(),
                    [](char a, char b) { return capital(a) == b; });
}

}  // namespace kv
