#include <coir/sched/cancellation.hpp>
#include <coir/sync/latch.hpp>

#include "../fatal.hpp"

namespace coir {

latch::latch(std::ptrdiff_t expected) noexcept : count_(expected) {
  if (expected < 0) sched::fatal("a latch was made for %td arrivals", expected);
}

latch::~latch() {
  // Behind the lock: the last count_down, whose zero we have seen, may not have let go of it yet.
  if (!waiters_.settle(lock_)) sched::fatal("a latch was destroyed while somebody waited for it");
}

void latch::count_down(std::ptrdiff_t n) noexcept {
  sched::ready_list woken;
  lock_.lock();
  const std::ptrdiff_t count = count_.load(std::memory_order_relaxed);
  if (n < 0 || n > count)
    sched::fatal("a latch was counted down by %td, and its count was %td", n, count);
  count_.store(count - n, std::memory_order_release);
  if (count == n)
    while (sched::waiter* w = waiters_.claim_first()) woken.push(*w);
  lock_.unlock();  // the latch may be gone from here on
  sched::wake(woken);
}

bool latch::wait_before(clock::time_point deadline) const {
  if (try_wait()) return true;
  sched::waiter& me = *sched::current_host().running;
  sched::cancellation_point(me);
  lock_.lock();
  if (try_wait()) return lock_.unlock(), true;
  sched::wait_node node;
  const auto how = sched::wait_in(waiters_, lock_, node, {sched::wait_kind::latch}, deadline);
  if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
  return how == sched::outcome::granted;
}

bool latch::arrive_before(std::ptrdiff_t n, clock::time_point deadline) {
  sched::cancellation_point(*sched::current_host().running);
  if (deadline != sched::never)
    sched::current_host().make_room_for_deadline();  // or throws, before it arrives
  count_down(n);
  return wait_before(deadline);
}

}  // namespace coir
