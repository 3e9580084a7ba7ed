// Calls that block their thread, from whatever fiber.
#pragma once
#include <utility>

#include <coir/sched/offload.hpp>
#include <coir/sched/scope.hpp>

namespace coir::io {

// On a thread of the runtime's pool while the fiber waits; fibers of a guest scheduler have no
// pool, and block their thread.
template <class F>
auto run_blocking(F&& f) {
  return sched::on_fiber() ? offload(std::forward<F>(f)) : std::forward<F>(f)();
}

}  // namespace coir::io
