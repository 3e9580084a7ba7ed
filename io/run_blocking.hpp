// Calls that block their thread, from whatever fiber.
#pragma once
#include <system_error>

#include <coir/sched/offload.hpp>
#include <coir/sched/scope.hpp>

namespace coir::io {

// On a thread of the runtime's pool while the fiber waits. Fibers of a guest scheduler have no
// pool, and block their thread; so does a fiber where the system allows no thread for the pool. f
// itself throws nothing.
template <class F>
auto run_blocking(F&& f) {
  if (!sched::on_fiber()) return f();
  try {
    return offload(f);
  } catch (const std::system_error&) {  // f has not begun
    return f();
  }
}

}  // namespace coir::io
