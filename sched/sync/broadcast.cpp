#include <mutex>

#include <coir/sched/cancellation.hpp>
#include <coir/sync/broadcast.hpp>

namespace coir::sched {

broadcast_core::broadcast_core(std::size_t capacity) {
  if (capacity == 0) throw std::invalid_argument("coir: a broadcast that keeps no item");
  kept_.resize(capacity);
}

bool broadcast_core::wanted() const {
  std::lock_guard held(lock_);
  if (closed_) throw channel_closed();
  return receivers_ != 0;
}

bool broadcast_core::push(item it) {
  ready_list woken;
  {
    std::lock_guard held(lock_);
    if (closed_) throw channel_closed();
    if (receivers_ == 0) return false;
    it.swap(kept_[pushed_ % kept_.size()]);  // the one it overtakes goes when the lock is free
    ++pushed_;
    while (waiter* w = waiters_.claim_first()) woken.push(*w);
  }
  while (waiter* w = woken.pop()) wake(*w);
  return true;
}

void broadcast_core::close() noexcept {
  ready_list woken;
  lock_.lock();
  closed_ = true;
  while (waiter* w = waiters_.claim_first()) woken.push(*w);
  lock_.unlock();
  while (waiter* w = woken.pop()) wake(*w);
}

std::uint64_t broadcast_core::subscribe() noexcept {
  std::lock_guard held(lock_);
  ++receivers_;
  return pushed_;
}

void broadcast_core::unsubscribe() noexcept {
  std::lock_guard held(lock_);
  --receivers_;
}

bool broadcast_core::drained(std::uint64_t position) const noexcept {
  std::lock_guard held(lock_);
  return closed_ && position == pushed_;
}

broadcast_core::item broadcast_core::at(std::uint64_t& position, clock::time_point deadline,
                                        bool may_wait) {
  waiter& me = *current_host().running;
  if (may_wait) cancellation_point(me);
  for (;;) {
    lock_.lock();
    if (pushed_ - position > kept_.size()) {
      const std::uint64_t oldest = pushed_ - kept_.size();
      lock_.unlock();
      throw lagged(oldest - std::exchange(position, oldest));
    }
    if (position != pushed_ || closed_ || !may_wait) {
      item found = position != pushed_ ? kept_[position % kept_.size()] : nullptr;
      lock_.unlock();
      return found;
    }
    wait_node node;
    const outcome how = wait_in(waiters_, lock_, node, {wait_kind::broadcast}, deadline);
    if (how == outcome::cancelled) throw_cancelled(me);
    if (how == outcome::timed_out) return nullptr;
  }
}

}  // namespace coir::sched
