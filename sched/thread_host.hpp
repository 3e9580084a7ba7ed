// The host of a plain thread: what would park a fiber blocks the thread.
#pragma once
#include <coir/sched/host.hpp>

namespace coir::sched {

host& make_thread_host() noexcept;  // of the calling thread, which has none

}  // namespace coir::sched
