// For tests that force a fiber from one worker to another.
#pragma once
#include <chrono>
#include <thread>

#include <coir/coir.hpp>

#include "fiber/sanitizers.hpp"
#include "sched/worker.hpp"

namespace coir::testing {

inline const spawn_options here_only{.name = "", .stack_size = 0, .pinned = true};
inline constexpr unsigned nowhere = ~0U;

// The worker that runs the calling fiber, now.
[[gnu::noinline]] inline unsigned this_worker() {
  return static_cast<sched::worker&>(sched::current_host()).index;
}
// A fiber about itself: from now on it may be stolen, or no longer.
[[gnu::noinline]] inline void set_pinned(bool pinned) {
  static_cast<sched::worker&>(sched::current_host()).current()->pinned = pinned;
}

// Spins without a blocking call, so that what is ready on this worker has to be taken by others.
// False: nothing came of it.
template <class Predicate>
bool hog_until(Predicate&& holds,
               std::chrono::milliseconds limit = std::chrono::seconds(
                   fiber::sanitizers::address || fiber::sanitizers::thread ? 20 : 5)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace coir::testing
