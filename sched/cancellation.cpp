#include <coir/sched/cancellation.hpp>
#include <coir/sched/cancelled.hpp>

#include "fiber_extras.hpp"
#include "worker.hpp"

namespace coir::sched {

bool may_be_cancelled(const waiter& w) noexcept {
  const host* home = w.home.load(std::memory_order_relaxed);
  if (home->kind != host_kind::worker) return false;
  return static_cast<const fiber_record&>(w).shields == 0 &&
         !static_cast<const worker*>(home)->unwinding();
}

void cancellation_point_slow(waiter& w) {
  if ((w.attention.load(std::memory_order_acquire) & strikes) != 0 && may_be_cancelled(w))
    throw_cancelled(w);
}

void throw_cancelled(waiter& w) {
  auto& f = static_cast<fiber_record&>(w);
  f.attention.fetch_and(~std::uint32_t{cancel_requested}, std::memory_order_acq_rel);
  throw cancelled(f.id(), take_reason(f));
}

std::string take_reason(fiber_record& f) {
  std::string reason;
  if (fiber_extras* e = f.extras.load(std::memory_order_acquire)) {
    e->lock.lock();
    reason.swap(e->reason);
    e->has_reason = false;
    e->lock.unlock();
  }
  return reason;
}

}  // namespace coir::sched
