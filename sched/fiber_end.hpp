// The end of a fiber: those who joined it learn of it, and its record goes with the last reference.
#pragma once
#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

class runtime_core;

// The fiber is done, and its join_lock held: lets go of that, calls what was to be called, and
// wakes those who wait.
void tell_who_waits_locked(fiber_record&) noexcept;

// An abandoned fiber: joins of it end with std::future_error(broken_promise). It never runs again,
// and keeps its record.
void break_promise(fiber_record&, const runtime_core& of) noexcept;

}  // namespace coir::sched
