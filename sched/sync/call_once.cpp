#include <coir/sched/cancellation.hpp>
#include <coir/sync/call_once.hpp>

#include "../fatal.hpp"
#include "../fiber_of.hpp"

namespace coir {

once_flag::~once_flag() {
  if (!waiters_.settle(lock_))
    sched::fatal("a once_flag was destroyed while somebody waited for it");
}

bool once_flag::begin() {
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  lock_.lock();
  if (done()) return lock_.unlock(), false;
  if (runner_ == nullptr) {
    runner_ = &me;
    lock_.unlock();
    return true;
  }
  if (runner_ == &me)
    sched::fatal(
        "call_once was called out of its own function by fiber %llu, and would wait for "
        "itself",
        static_cast<unsigned long long>(sched::fiber_number(&me)));
  sched::wait_node node;
  const sched::wait_reason why{sched::wait_kind::once, sched::fiber_number(runner_)};
  const auto how = sched::wait_in(waiters_, lock_, node, why, sched::never);
  if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
  return node.amount == 0;  // not done: it was handed the turn. The flag may be gone
}

void once_flag::succeed() noexcept {
  sched::ready_list woken;
  lock_.lock();
  runner_ = nullptr;
  done_.store(true, std::memory_order_release);
  for (sched::wait_node *n = waiters_.front(), *next; n != nullptr; n = next) {
    next = waiters_.after(*n);
    n->amount = 1;
    if (sched::waiter* w = waiters_.claim(*n)) woken.push(*w);
  }
  lock_.unlock();
  sched::wake(woken);
}

void once_flag::fail() noexcept {
  lock_.lock();
  sched::waiter* const next = waiters_.claim_first();
  runner_ = next;
  lock_.unlock();
  if (next != nullptr) sched::wake(*next);
}

}  // namespace coir
