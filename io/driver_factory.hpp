// Chooses the rung of the ladder and makes the drivers of a runtime.
#pragma once
#include <memory>

#include <coir/sched/driver.hpp>
#include <coir/sched/options.hpp>

namespace coir::io {

// options::reactor, by what the kernel allows. A rung that was asked for and is refused throws
// std::system_error with the kernel's errno, the likely cause and the remedy; `automatic` falls
// back to epoll and says why in reason().
std::unique_ptr<sched::driver_factory> make_driver_factory(const options&);

}  // namespace coir::io
