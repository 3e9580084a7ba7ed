// A hash table of keys and values. Not std::unordered_map, whose buckets hold the record before
// their first one: a look-up touches a record and a name less here, which are all in other cache
// lines, and showed in GET and SET of 100,000 keys.
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text_hash.hpp"

namespace kv {

struct key {
  std::string_view text;
  std::uint64_t hash;
};

using list = std::deque<std::string>;
struct seeded_hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view t) const { return hash_of(t, seed); }
  static inline std::uint64_t seed = 0;  // set before the first worker starts
};
using hash_table = std::unordered_map<std::string, std::string, seeded_hash, std::equal_to<>>;
using value = std::variant<std::string, std::unique_ptr<list>, std::unique_ptr<hash_table>>;

struct record {
  record* next;
  std::uint64_t hash;
  std::string name;
  value what{};
  std::int64_t expires = 0;  // milliseconds of Unix time; 0: never. Changed by store::expire
};

class key_table {
 public:
  key_table() : buckets_(4) {}
  ~key_table() { clear(); }
  key_table(const key_table&) = delete;
  key_table& operator=(const key_table&) = delete;

  std::size_t size() const noexcept { return size_; }

  record* find(const key& k) const noexcept {
    record* r = buckets_[place(k.hash)];
    while (r != nullptr && (r->hash != k.hash || r->name != k.text)) r = r->next;
    return r;
  }

  record& insert(const key& k) {  // which is not there
    if (size_ >= buckets_.size()) grow();
    record*& first = buckets_[place(k.hash)];
    first = new record{first, k.hash, std::string(k.text)};
    ++size_;
    return *first;
  }

  void erase(record& r) noexcept {
    record** at = &buckets_[place(r.hash)];
    while (*at != &r) at = &(*at)->next;
    *at = r.next;
    delete &r;
    --size_;
  }

  void clear() noexcept {
    for (record*& first : buckets_)
      while (first != nullptr) delete std::exchange(first, first->next);
    size_ = 0;
  }

  template <class F>
  void for_each(F f) const {
    for (const record* r : buckets_)
      for (; r != nullptr; r = r->next) f(*r);
  }

 private:
  // The highest bits say which shard: not these.
  std::size_t place(std::uint64_t hash) const noexcept { return hash & (buckets_.size() - 1); }

  void grow() {
    std::vector<record*> old(2 * buckets_.size());
    old.swap(buckets_);
    for (record* r : old)
      while (r != nullptr) {
        record* const next = r->next;
        record*& first = buckets_[place(r->hash)];
        r->next = std::exchange(first, r);
        r = next;
      }
  }

  std::vector<record*> buckets_;  // a power of two
  std::size_t size_ = 0;
};

}  // namespace kv
