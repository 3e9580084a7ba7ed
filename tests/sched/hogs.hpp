// Fibers that keep their worker busy.
#pragma once
#include <chrono>
#include <thread>

#include <coir/sched/spawn_options.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {

inline const spawn_options here_only{.name = "", .stack_size = 0, .pinned = true};

// Spins without a blocking call: the worker's other fibers wait for it or for a thief. False:
// nothing came of it.
template <class Predicate>
bool hog_until(Predicate&& holds, std::chrono::milliseconds limit = sanitized ? 20s : 10s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace coir::testing
