#include <coir/sched/cancellation.hpp>
#include <coir/sync/condition_variable.hpp>

#include "../fatal.hpp"

namespace coir {

condition_variable::~condition_variable() {
  if (!waiters_.settle(lock_))
    sched::fatal("a condition_variable was destroyed while somebody waited for it");
}

void condition_variable::notify_one() noexcept {
  lock_.lock();
  sched::waiter* const first = waiters_.claim_first();
  lock_.unlock();
  if (first != nullptr) sched::wake(*first);
}

void condition_variable::notify_all() noexcept {
  sched::ready_list woken;
  lock_.lock();
  while (sched::waiter* w = waiters_.claim_first()) woken.push(*w);
  lock_.unlock();
  sched::wake(woken);
}

std::cv_status condition_variable::wait_before(std::unique_lock<mutex>& held,
                                               clock::time_point deadline) {
  if (!held.owns_lock())
    sched::fatal("a condition_variable was waited for with a lock that is not held");
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  if (deadline != sched::never) sched::current_host().make_room_for_deadline();  // or throws, now
  // Our queue is locked before the mutex is free: a notification made from then on finds us. Who
  // gets the mutex is woken behind that lock.
  lock_.lock();
  sched::waiter* const next = held.mutex()->hand_over();
  sched::wait_node node;
  const auto how =
      sched::wait_in(waiters_, lock_, node, {sched::wait_kind::condition}, deadline, next);
  held.mutex()->lock_uncancelled();
  if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
  return how == sched::outcome::timed_out ? std::cv_status::timeout : std::cv_status::no_timeout;
}

}  // namespace coir
