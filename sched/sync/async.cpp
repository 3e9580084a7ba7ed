#include <coir/sync/async.hpp>

#include <coir/sched/cancelled.hpp>

#include "../fiber_extras.hpp"
#include "../fiber_of.hpp"

namespace coir::sched {

std::exception_ptr why_dropped() noexcept {
  fiber_record* const f = running_fiber();
  if (f != nullptr && f->how == task_ending::error)  // there was no stack for it
    return *reinterpret_cast<std::exception_ptr*>(f->payload());
  if (f != nullptr && (f->attention.load(std::memory_order_acquire) & strikes) != 0)
    return std::make_exception_ptr(cancelled(f->id(), take_reason(*f)));
  return promise_broken();
}

}  // namespace coir::sched
