// A bigger stack for a while.
#pragma once
#include <cstddef>

#include <coir/sched/kept_call.hpp>

namespace coir {

namespace sched {
void run_on_stack(std::size_t bytes, void (*call)(void*) noexcept, void* of);
}

// Runs f on a stack of at least that many bytes, guarded like every other; what f returns or
// throws. For code that needs more stack than the fiber or thread has. It stays the same fiber, and
// may block; of exceptions that are being handled where it was called, f knows nothing. Throws
// std::system_error(not_enough_memory) if there is no such stack, std::invalid_argument if there
// can be none.
template <class F>
decltype(auto) on_big_stack(std::size_t bytes, F&& f) {
  sched::kept_call<F> call(f);
  sched::run_on_stack(
      bytes, [](void* c) noexcept { static_cast<sched::kept_call<F>*>(c)->make(); }, &call);
  return call.take();
}

}  // namespace coir
