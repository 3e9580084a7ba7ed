// How many processors this process may use.
#pragma once

namespace coir::sched {

// The affinity mask of the calling thread, bounded by the CPU quota of its cgroups (v2 and v1),
// rounded up; at least 1.
unsigned usable_processors();

}  // namespace coir::sched
