// Names the code that overflowed its stack, for the report of it.
#pragma once
#include <coir/fiber/overflow.hpp>

namespace coir::sched {

// Async-signal-safe; on the thread that faulted. False: neither a fiber's nor a coroutine's stack.
bool who_overflowed(fiber::overflow_report&) noexcept;

}  // namespace coir::sched
