// A driver without I/O: it waits for the deadline and for interrupts.
#pragma once
#include <coir/sched/driver.hpp>

namespace coir::sched {

std::unique_ptr<driver_factory> make_futex_drivers();

}  // namespace coir::sched
