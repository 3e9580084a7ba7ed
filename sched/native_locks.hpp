// Native locks held over a suspension: a std::mutex that its fiber keeps while it waits blocks the
// worker that meets it next, and is unlocked by the wrong thread. Found in a build with
// -Dlock_check=true; elsewhere nothing is looked at.
#pragma once
#include <coir/sched/waiter.hpp>

namespace coir::sched {

// By the running fiber, which gives its thread away now: stops the process, with the lock and where
// it was taken, if the thread holds one that a fiber has taken.
#ifdef COIR_LOCK_CHECK
void refuse_native_locks(const waiter&) noexcept;
#else
inline void refuse_native_locks(const waiter&) noexcept {}
#endif

}  // namespace coir::sched
