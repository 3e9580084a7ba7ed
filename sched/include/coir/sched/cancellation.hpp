// Where cancellation strikes: on entry to a blocking call and in it.
#pragma once
#include <coir/sched/waiter.hpp>

namespace coir::sched {

// For a wait that no cancellation ends, and that has no cancellation point: stops the process in a
// no_suspend_scope.
[[noreturn]] void refuse_to_suspend(const waiter&) noexcept;
inline void check_may_suspend(const waiter& w) noexcept {
  if ((w.attention.load(std::memory_order_relaxed) & (may_not_suspend | given_up)) != 0)
      [[unlikely]]
    refuse_to_suspend(w);
}

// On entry to a blocking call, before it has any effect: throws coir::cancelled if the running
// fiber has a request that may strike now. Nothing on a plain thread, while unwinding, or in a
// shield.
void cancellation_point_slow(waiter&);
inline void cancellation_point(waiter& w) {
  if (w.attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    cancellation_point_slow(w);
}

// Whether a wait that begins now may be ended by cancellation: what to give to claim_word::begin.
// In a shield it may, by the scopes inside.
bool may_be_cancelled(const waiter&) noexcept;

// Delivers the pending cancellation, after a wait that it ended.
[[noreturn]] void throw_cancelled(waiter&);

}  // namespace coir::sched
