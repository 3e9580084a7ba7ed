// The host of a plain thread: what would park a fiber blocks the thread.
#pragma once
#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/host.hpp>

namespace coir::sched {

host& make_thread_host() noexcept;                 // of the calling thread, which has none
fiber_storage& storage_of_thread(host&) noexcept;  // of kind thread; its thread's own

}  // namespace coir::sched
