// A runtime does not survive fork: the child has one thread and none of the workers.
#pragma once

namespace coir::sched {

// How often this process is a fork's child, counted from the first call. A runtime that was made
// under another number belongs to an ancestor.
unsigned fork_generation() noexcept;

}  // namespace coir::sched
