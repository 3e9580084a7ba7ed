#include <coir/sched/cancellation.hpp>
#include <coir/sync/counting_semaphore.hpp>

#include "../fatal.hpp"

namespace coir::sched {

semaphore::semaphore(std::ptrdiff_t permits, std::ptrdiff_t most) noexcept
    : permits_(permits), most_(most) {
  if (permits < 0 || permits > most)
    fatal("a semaphore was made with %td permits; it takes 0 to %td", permits, most);
}

semaphore::~semaphore() {
  lock_.lock();
  if (!waiters_.empty()) fatal("a semaphore was destroyed while somebody waited for it");
  lock_.unlock();
}

void semaphore::check(std::ptrdiff_t n) const noexcept {
  if (n < 0 || n > most_)
    fatal("%td permits were asked of a semaphore that has at most %td", n, most_);
}

// The first in line, as long as there is enough for it.
void semaphore::hand_out_locked(ready_list& served) noexcept {
  for (wait_node *n = waiters_.front(), *next; n != nullptr; n = next) {
    next = waiters_.after(*n);
    const auto wanted = static_cast<std::ptrdiff_t>(n->amount);
    if (wanted > permits_) return;
    waiter* const w = waiters_.claim(*n);
    if (w == nullptr) continue;
    permits_ -= wanted;
    served.push(*w);
  }
}

void semaphore::release(std::ptrdiff_t n) noexcept {
  ready_list served;
  lock_.lock();
  if (n < 0 || n > most_ - permits_)
    fatal("%td permits were released to a semaphore that has %td of at most %td", n, permits_,
          most_);
  permits_ += n;
  hand_out_locked(served);
  lock_.unlock();
  wake(served);
}

bool semaphore::try_acquire(std::ptrdiff_t n) noexcept {
  check(n);
  lock_.lock();
  const bool taken = waiters_.empty() && permits_ >= n;
  if (taken) permits_ -= n;
  lock_.unlock();
  return taken;
}

bool semaphore::acquire(std::ptrdiff_t n, clock::time_point deadline) {
  check(n);
  waiter& me = *current_host().running;
  cancellation_point(me);
  lock_.lock();
  if (waiters_.empty() && permits_ >= n) {
    permits_ -= n;
    lock_.unlock();
    return true;
  }
  wait_node node;
  node.amount = static_cast<std::uint64_t>(n);
  const outcome how = wait_in(waiters_, lock_, node, {wait_kind::semaphore}, deadline);
  if (how == outcome::granted) return true;
  // Smaller requests may have waited behind this one for permits that are there.
  ready_list served;
  lock_.lock();
  hand_out_locked(served);
  lock_.unlock();
  wake(served);
  if (how == outcome::cancelled) throw_cancelled(me);
  return false;
}

}  // namespace coir::sched
