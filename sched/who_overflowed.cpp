#include "who_overflowed.hpp"

#include <coir/coroutine/coroutine_frame.hpp>

#include "fiber_extras.hpp"
#include "worker.hpp"

namespace coir::sched {

bool who_overflowed(fiber::overflow_report& report) noexcept {
  host* here = current_host_if_any();
  if (here == nullptr || here->running == nullptr) return false;
  const coroutine_frame* c = here->running->coroutine;
  report.in_coroutine = c != nullptr;
  if (here->kind != host_kind::worker) {
    report.running = c != nullptr ? c->on : nullptr;
    return c != nullptr;
  }
  auto& f = static_cast<fiber_record&>(*here->running);
  report.running = f.context.on;
  report.id = f.id().value();
  if (fiber_extras* e = f.extras.load(std::memory_order_acquire);
      e != nullptr && e->lock.try_lock()) {
    e->name.copy(report.name, sizeof report.name - 1);
    e->lock.unlock();
  }
  return true;
}

}  // namespace coir::sched
