#include <coir/sched/cancellation.hpp>
#include <coir/sync/mutex.hpp>

#include "../fatal.hpp"
#include "../fiber_of.hpp"

namespace coir {

mutex::~mutex() {
  lock_.lock();  // an unlock that woke us may not have let go of it yet
  if (owner_ != nullptr)
    sched::fatal("a mutex was destroyed while fiber %llu held it",
                 static_cast<unsigned long long>(sched::fiber_number(owner_)));
  lock_.unlock();
}

sched::outcome mutex::acquire(clock::time_point deadline, bool cancellable) {
  sched::waiter* const me = sched::current_host().running;
  lock_.lock();
  if (owner_ == nullptr) {
    owner_ = me;
    lock_.unlock();
    return sched::outcome::granted;
  }
  if (owner_ == me)
    sched::fatal(
        "a mutex was locked again by fiber %llu, which holds it: use recursive locking or "
        "split the function",
        static_cast<unsigned long long>(sched::fiber_number(me)));
  sched::wait_node node;
  return sched::wait_in(waiters_, lock_, node,
                        {sched::wait_kind::mutex, sched::fiber_number(owner_), cancellable},
                        deadline);
}

void mutex::lock() {
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  if (acquire(sched::never, true) == sched::outcome::cancelled) sched::throw_cancelled(me);
}

void mutex::lock_uncancelled() noexcept { acquire(sched::never, false); }

bool mutex::lock_before(clock::time_point deadline) {
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  const sched::outcome how = acquire(deadline, true);
  if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
  return how == sched::outcome::granted;
}

bool mutex::try_lock() noexcept {
  sched::waiter* const me = sched::current_host().running;
  lock_.lock();
  const bool taken = owner_ == nullptr;
  if (taken) owner_ = me;
  lock_.unlock();
  return taken;
}

sched::waiter* mutex::hand_over() noexcept {
  sched::waiter* const me = sched::current_host().running;
  lock_.lock();
  if (owner_ != me)
    sched::fatal("a mutex was unlocked by fiber %llu, and %s holds it",
                 static_cast<unsigned long long>(sched::fiber_number(me)),
                 owner_ == nullptr ? "nobody" : "another");
  sched::waiter* const next = waiters_.claim_first();
  owner_ = next;
  lock_.unlock();  // the mutex may be gone from here on
  return next;
}

void mutex::unlock() noexcept {
  if (sched::waiter* next = hand_over()) sched::wake(*next);
}

}  // namespace coir
