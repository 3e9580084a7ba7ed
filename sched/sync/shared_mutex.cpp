#include <coir/sched/cancellation.hpp>
#include <coir/sync/shared_mutex.hpp>

#include "../fatal.hpp"
#include "../fiber_of.hpp"

// Always true: not both a writer and readers; what a waiter was given is counted before it wakes.
// When the lock is free of spins, the first in line cannot be served, unless it has given up: then
// it hands out what it kept the others from as soon as it runs.
namespace coir {

shared_mutex::~shared_mutex() {
  lock_.lock();  // an unlock that woke us may not have let go of it yet
  if (writer_ != nullptr)
    sched::fatal("a shared_mutex was destroyed while fiber %llu held it",
                 static_cast<unsigned long long>(sched::fiber_number(writer_)));
  if (readers_ != 0)
    sched::fatal("a shared_mutex was destroyed while %zu readers held it", readers_);
  lock_.unlock();
}

bool shared_mutex::free_for_locked(mode how) const noexcept {
  return writer_ == nullptr && (how == mode::shared || readers_ == 0);
}

void shared_mutex::hold_locked(mode how, sched::waiter& who) noexcept {
  if (how == mode::shared)
    ++readers_;
  else
    writer_ = &who;
}

// The first in line, as long as it may have it.
void shared_mutex::hand_out_locked(sched::ready_list& served) noexcept {
  for (sched::wait_node *n = waiters_.front(), *next; n != nullptr; n = next) {
    next = waiters_.after(*n);
    const auto how = static_cast<mode>(n->amount);
    if (!free_for_locked(how)) return;
    sched::waiter* const w = waiters_.claim(*n);
    if (w == nullptr) continue;
    hold_locked(how, *w);
    served.push(*w);
  }
}

// The lock is held; the mutex may be gone afterwards.
void shared_mutex::finish(sched::ready_list& served) noexcept {
  hand_out_locked(served);
  lock_.unlock();
  sched::wake(served);
}

bool shared_mutex::lock_before(mode how, clock::time_point deadline) {
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  lock_.lock();
  if (waiters_.empty() && free_for_locked(how)) {
    hold_locked(how, me);
    lock_.unlock();
    return true;
  }
  if (writer_ == &me)
    sched::fatal("a shared_mutex was locked again by fiber %llu, which holds it",
                 static_cast<unsigned long long>(sched::fiber_number(&me)));
  sched::wait_node node;
  node.amount = static_cast<std::uint64_t>(how);
  const sched::wait_reason why{sched::wait_kind::shared_mutex, sched::fiber_number(writer_)};
  const auto outcome = sched::wait_in(waiters_, lock_, node, why, deadline);
  if (outcome == sched::outcome::granted) return true;
  // Readers may have waited behind this writer while others read.
  sched::ready_list served;
  lock_.lock();
  finish(served);
  if (outcome == sched::outcome::cancelled) sched::throw_cancelled(me);
  return false;
}

bool shared_mutex::try_lock_as(mode how) noexcept {
  sched::waiter& me = *sched::current_host().running;
  lock_.lock();
  const bool taken = waiters_.empty() && free_for_locked(how);
  if (taken) hold_locked(how, me);
  lock_.unlock();
  return taken;
}

void shared_mutex::unlock() noexcept {
  const sched::waiter* const me = sched::current_host().running;
  sched::ready_list served;
  lock_.lock();
  if (writer_ != me)
    sched::fatal("a shared_mutex was unlocked by fiber %llu, and %s",
                 static_cast<unsigned long long>(sched::fiber_number(me)),
                 writer_ != nullptr ? "another holds it"
                 : readers_ != 0    ? "it is held shared"
                                    : "nobody holds it");
  writer_ = nullptr;
  finish(served);
}

void shared_mutex::unlock_shared() noexcept {
  sched::ready_list served;
  lock_.lock();
  if (readers_ == 0)
    sched::fatal(
        "a shared_mutex was unlocked as shared by fiber %llu, and nobody holds it so",
        static_cast<unsigned long long>(sched::fiber_number(sched::current_host().running)));
  --readers_;
  finish(served);
}

void shared_mutex::unlock_and_lock_shared() noexcept {
  sched::waiter* const me = sched::current_host().running;
  sched::ready_list served;
  lock_.lock();
  if (writer_ != me)
    sched::fatal("a shared_mutex was made shared by fiber %llu, which does not hold it",
                 static_cast<unsigned long long>(sched::fiber_number(me)));
  writer_ = nullptr;
  readers_ = 1;
  finish(served);
}

}  // namespace coir
