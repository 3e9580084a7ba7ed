// Who a waiter is, for messages and dumps.
#pragma once
#include <coir/sched/fiber_record.hpp>
#include <coir/sched/host.hpp>

namespace coir::sched {

// The number of its fiber; 0: a plain thread's or a guest's, or nobody.
inline std::uint64_t fiber_number(const waiter* w) noexcept {
  if (w == nullptr) return 0;
  const host* home = w->home.load(std::memory_order_relaxed);
  if (home == nullptr || home->kind != host_kind::worker) return 0;
  return static_cast<const fiber_record*>(w)->id().value();
}

// The fiber that runs the caller; null: none, or a guest's.
inline fiber_record* running_fiber() noexcept {
  const host* h = current_host_if_any();
  return h != nullptr && h->kind == host_kind::worker ? static_cast<fiber_record*>(h->running)
                                                      : nullptr;
}

}  // namespace coir::sched
