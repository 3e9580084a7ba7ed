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

fiber_record& spawn_record(runtime_core& core, spawn_options&& o, const spawn_request& r) {
  return core.spawn(std::move(o), r);
}

bool join(fiber_record& f, clock::time_point deadline, bool cancellable) {
  if (f.done()) return true;
  host& here = current_host();
  waiter& me = *here.running;
  if (&me == &f)
    fatal("fiber %llu joins itself, and would wait for ever",
          static_cast<unsigned long long>(f.id().value()));
  check_may_suspend(me);
  if (cancellable) cancellation_point(me);
  const wait_reason why{wait_kind::join, f.id().value(), cancellable};
  if (deadline != never) here.make_room_for_deadline();
  outcome how;
  if (here.kind == host_kind::worker &&
      static_cast<worker&>(here).join_unstarted(f, static_cast<fiber_record&>(me), why, deadline)) {
    how = me.claim.finish();
  } else {
    f.join_lock.lock();
    if (f.done()) return f.join_lock.unlock(), true;
    wait_node node;
    how = wait_in(f.joiners, f.join_lock, node, why, deadline);
  }
  if (how == outcome::cancelled) throw_cancelled(me);
  return how == outcome::granted;
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
  auto& error = *reinterpret_cast<std::exception_ptr*>(f.payload());
  f.error_seen.store(true, std::memory_order_relaxed);
  if (f.ending.load(std::memory_order_relaxed) == task_ending::abandoned)
    return std::make_exception_ptr(std::future_error(std::future_errc::broken_promise));
  if (error == nullptr && f.ending.load(std::memory_order_relaxed) == task_ending::cancelled)
    error = std::make_exception_ptr(cancelled(f.id()));  // it never ran
  return error;
}

void cancel_and_join(fiber_record& f) noexcept {
  if (!f.done()) {
    cancel(f, {});
    join(f, never, false);
  }
  release(f);
}

}  // namespace coir::sched
