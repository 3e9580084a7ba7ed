#include <coir/sched/task.hpp>

#include <stdexcept>
#include <system_error>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/host.hpp>

#include "fatal.hpp"
#include "fiber_extras.hpp"
#include "runtime_core.hpp"
#include "worker.hpp"

namespace coir::sched {

namespace {

worker* this_worker() noexcept {
  host* h = current_host_if_any();
  return h != nullptr && h->kind == host_kind::worker ? static_cast<worker*>(h) : nullptr;
}

}  // namespace

void refuse_on_fiber(const char* call) {
  if (this_worker() != nullptr)
    throw std::logic_error(std::string("coir: ") + call +
                           " blocks its thread and was called on a fiber: spawn a fiber instead");
}

runtime_core& core_of_this_fiber(const char* call) {
  worker* w = this_worker();
  if (w == nullptr)
    throw std::system_error(
        std::make_error_code(std::errc::operation_not_permitted),
        std::string("coir: ") + call +
            " was called on a plain thread: use a runtime's member, or coir::run");
  return w->core;
}

bool cancel(fiber_record& f, std::string_view reason) noexcept {
  if (f.done()) return false;
  note_reason(f, reason);
  record_store& store = *record_slab::of(f).store;
  const sender counted(store);
  if (runtime_core* core = store.owner.load(std::memory_order_seq_cst))
    core->request_cancellation(f, cancel_requested);
  request_stop(f);
  return true;
}

std::string name_of_task(const fiber_record& f) { return name_of(f); }

void rethrow(fiber_record& f) {
  f.error_seen.store(true, std::memory_order_relaxed);
  std::rethrow_exception(error_of(f));
}

std::exception_ptr error_of(fiber_record& f) {
  const auto& error = *reinterpret_cast<std::exception_ptr*>(f.payload());
  f.error_seen.store(true, std::memory_order_relaxed);
  if (f.ending.load(std::memory_order_relaxed) == task_ending::abandoned)
    return std::make_exception_ptr(std::future_error(std::future_errc::broken_promise));
  if (error == nullptr && f.ending.load(std::memory_order_relaxed) == task_ending::cancelled)
    return std::make_exception_ptr(cancelled(f.id(), reason_of(f)));  // it never ran
  return error;
}

void cancel_and_join(fiber_record& f) noexcept {
  cancel(f, {});
  join(f, never, false);
}

}  // namespace coir::sched
