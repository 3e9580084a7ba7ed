#include "store.hpp"

#include <chrono>

#include "append_log.hpp"
#include "resp.hpp"

namespace kv {

std::int64_t unix_milliseconds() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

record* store::find(const key& k) {
  shard& s = shard_of(k);
  record* const r = s.entries.find(k);
  if (r == nullptr || r->expires == 0 || loading_ || r->expires > unix_milliseconds()) [[likely]]
    return r;
  erase_expired(s, *r);
  return nullptr;
}

record& store::make(const key& k) {
  if (record* r = find(k)) return *r;
  return shard_of(k).entries.insert(k);
}

bool store::erase(const key& k) {
  record* r = find(k);
  if (r != nullptr) erase(shard_of(k), *r);
  return r != nullptr;
}

void store::erase(shard& s, record& r) {
  if (r.expires != 0) s.expiring.erase({r.expires, &r});
  s.entries.erase(r);
}

void store::clear(shard& s) {
  s.expiring.clear();
  s.entries.clear();
}

void store::expire(const key& k, record& r, std::int64_t when) {
  std::int64_t& old = r.expires;
  if (old == when) return;
  shard& s = shard_of(k);
  if (when != 0) s.expiring.emplace(when, &r);
  if (old != 0) s.expiring.erase({old, &r});
  old = when;
}

// It goes into the log like a DEL of a client's, because when the log is read nothing expires: the
// commands that followed met no such key then, and must not meet one now.
void store::erase_expired(shard& s, record& r) {
  if (log_ != nullptr) {
    std::string del;
    put_request(del, std::array<std::string_view, 2>{"DEL", r.name});
    log(s, del);
  }
  expired.fetch_add(1, std::memory_order_relaxed);
  erase(s, r);
}

void store::expire_due() {
  constexpr int at_once = 100;  // under a lock, for which others may wait
  const std::int64_t now = unix_milliseconds();
  for (shard& s : shards_)
    for (bool more = true; more;) {
      const std::lock_guard locked(s.lock);
      const auto due = [&] { return !s.expiring.empty() && s.expiring.begin()->first <= now; };
      for (int n = 0; n < at_once && due(); ++n) erase_expired(s, *s.expiring.begin()->second);
      more = due();
    }
}

void store::log(shard& s, std::string_view change) {
  if (log_ != nullptr && !loading_) s.logged = log_->append(change);
}

}  // namespace kv
