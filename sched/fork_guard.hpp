// A runtime does not survive fork: the child has one thread and none of the workers.
#pragma once
#include <atomic>

namespace coir::sched {

// How often this process is a fork's child, counted from the first call of watch_forks(), which
// returns it. A runtime that was made under another number belongs to an ancestor.
extern std::atomic<unsigned> fork_generation;
unsigned watch_forks() noexcept;

}  // namespace coir::sched
