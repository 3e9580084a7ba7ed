// Calls that need several fibers at once, from whatever fiber.
#pragma once
#include <functional>
#include <utility>

#include <coir/sched/host.hpp>
#include <coir/sched/runtime.hpp>

namespace coir::io {

// A guest scheduler cannot start fibers of ours: f then runs on a runtime that is made for the
// call, while the guest's fiber waits. Dear, but these calls are long ones. A plain thread is
// refused by what f calls.
template <class F>
auto with_fibers(F&& f) {
  const sched::host* const here = sched::current_host_if_any();
  if (here == nullptr || here->kind != sched::host_kind::guest) return std::invoke(f);
  options o = options::from_environment();
  o.workers = 1;
  return runtime(std::move(o)).block_on(f);
}

}  // namespace coir::io
