// The host of a plain thread: what would park a fiber blocks the thread.
#pragma once
#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/host.hpp>

namespace coir::sched {

host& make_thread_host() noexcept;                 // of the calling thread, which has none
host* make_thread_host_if_possible() noexcept;     // null: there is no memory
fiber_storage& storage_of_thread(host&) noexcept;  // of kind thread; its thread's own

}  // namespace coir::sched
