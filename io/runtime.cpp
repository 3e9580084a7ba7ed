// The constructor that needs to know the reactors.
#include <coir/sched/driver.hpp>
#include <coir/sched/runtime.hpp>

#include "driver_factory.hpp"

namespace coir {

runtime::runtime(options o) : runtime(o, io::make_driver_factory(o)) {}

}  // namespace coir
