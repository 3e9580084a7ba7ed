// The end of a fiber: those who joined it learn of it, and its record goes with the last reference.
#pragma once
#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

class runtime_core;

// Its ending has been stored. Publishes done, wakes the joiners, gives up the fiber's own
// reference. After it the record may be anybody's. Returns the joiner that jumped to it, claimed
// and to be made ready by the caller; or null.
waiter* end_fiber(fiber_record&) noexcept;

// An abandoned fiber: joins of it end with std::future_error(broken_promise). It never runs again,
// and keeps its record.
void break_promise(fiber_record&, const runtime_core& of) noexcept;

}  // namespace coir::sched
