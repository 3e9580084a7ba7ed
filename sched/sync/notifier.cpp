#include <coir/sched/cancellation.hpp>
#include <coir/sync/notifier.hpp>

#include <utility>

#include "../fatal.hpp"

namespace coir {

notifier::~notifier() {
  if (!waiters_.settle(lock_))
    sched::fatal("a notifier was destroyed while somebody waited for it");
}

void notifier::notify_one() noexcept {
  lock_.lock();
  sched::waiter* const first = waiters_.claim_first();
  if (first == nullptr) permit_ = true;
  lock_.unlock();  // the notifier may be gone from here on
  if (first != nullptr) sched::wake(*first);
}

void notifier::notify_all() noexcept {
  sched::ready_list woken;
  lock_.lock();
  while (sched::waiter* w = waiters_.claim_first()) woken.push(*w);
  lock_.unlock();
  sched::wake(woken);
}

bool notifier::wait_before(clock::time_point deadline) {
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  lock_.lock();
  if (std::exchange(permit_, false)) return lock_.unlock(), true;
  sched::wait_node node;
  const auto how = sched::wait_in(waiters_, lock_, node, {sched::wait_kind::notifier}, deadline);
  if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
  return how == sched::outcome::granted;
}

}  // namespace coir
