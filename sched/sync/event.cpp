#include <coir/sched/cancellation.hpp>
#include <coir/sync/event.hpp>

#include "../fatal.hpp"

namespace coir {

event::~event() {
  // Behind the lock: a set() that woke us may not have let go of it yet.
  if (!waiters_.settle(lock_)) sched::fatal("an event was destroyed while somebody waited for it");
}

void event::set() noexcept {
  sched::ready_list woken;
  lock_.lock();
  set_.store(true, std::memory_order_release);
  while (sched::waiter* w = waiters_.claim_first()) woken.push(*w);
  lock_.unlock();  // the event may be gone once the first of them runs
  sched::wake(woken);
}

void event::reset() noexcept {
  lock_.lock();
  set_.store(false, std::memory_order_relaxed);
  lock_.unlock();
}

bool event::wait_before(clock::time_point deadline) {
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  lock_.lock();
  if (is_set()) return lock_.unlock(), true;
  sched::wait_node node;
  const auto how = sched::wait_in(waiters_, lock_, node, {sched::wait_kind::event}, deadline);
  if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
  return how == sched::outcome::granted;
}

}  // namespace coir
