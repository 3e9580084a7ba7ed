#include <coir/sync/watch.hpp>

#include <mutex>

#include <coir/sched/cancellation.hpp>

namespace coir::sched {

void watch_core::set(value v) {
  ready_list woken;
  {
    std::lock_guard held(lock_);
    if (closed_) throw channel_closed();
    value_.swap(v);  // the old one goes when the lock is free
    ++version_;
    while (waiter* w = waiters_.claim_first()) woken.push(*w);
  }
  while (waiter* w = woken.pop()) wake(*w);
}

void watch_core::close() noexcept {
  ready_list woken;
  lock_.lock();
  closed_ = true;
  while (waiter* w = waiters_.claim_first()) woken.push(*w);
  lock_.unlock();
  while (waiter* w = woken.pop()) wake(*w);
}

watch_core::value watch_core::get(std::uint64_t& version) const noexcept {
  std::lock_guard held(lock_);
  version = version_;
  return value_;
}

std::uint64_t watch_core::version() const noexcept {
  std::lock_guard held(lock_);
  return version_;
}

bool watch_core::drained(std::uint64_t seen) const noexcept {
  std::lock_guard held(lock_);
  return closed_ && seen == version_;
}

bool watch_core::changed(std::uint64_t& seen, clock::time_point deadline) {
  waiter& me = *current_host().running;
  cancellation_point(me);
  for (;;) {
    lock_.lock();
    if (seen != version_ || closed_) {
      const bool is_new = seen != version_;
      seen = version_;
      lock_.unlock();
      return is_new;
    }
    wait_node node;
    const outcome how = wait_in(waiters_, lock_, node, {wait_kind::watch}, deadline);
    if (how == outcome::cancelled) throw_cancelled(me);
    if (how == outcome::timed_out) return false;
  }
}

}  // namespace coir::sched
