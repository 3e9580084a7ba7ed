// Calls that block their thread, on threads of their own.
#pragma once
#include <exception>
#include <type_traits>

#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/kept_call.hpp>
#include <coir/sched/spin_lock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

namespace sched {

// What a thread of the pool runs. In the pool's line, or with the thread that runs it.
struct offload_job {
  using function = void (*)(offload_job&) noexcept;
  explicit offload_job(function f, function d = nullptr) noexcept : run(f), drop(d) {}
  offload_job(const offload_job&) = delete;
  offload_job& operator=(const offload_job&) = delete;

  const function run;
  const function drop;          // at the end of the pool, instead of run; null: run it then, too
  offload_job* next = nullptr;  // under the pool's mutex
  offload_job* previous = nullptr;  // the same
  bool queued = false;              // the same
};

// Runs a job that lies on the caller's stack; returns when it has run. Throws cancelled if it is
// cancelled before that begins, and then it never runs.
struct awaited_job : offload_job {
  using offload_job::offload_job;
  spin_lock lock;
  bool done = false;   // under lock
  wait_queue waiting;  // under lock
};
void run_offloaded(awaited_job&);
// Whether a thread of the pool is free for one now, or can be made. Fibers only.
bool offload_begins_at_once();

}  // namespace sched

// asyncio.to_thread: runs f on a thread of the runtime's pool (options::blocking_threads at most),
// and parks the fiber meanwhile; what f returns or throws. For code that blocks its thread or
// computes for long. Cancelled before f begins, f never runs; later, f is waited for all the same,
// because its captures may lie on this stack, and the cancellation comes at the next blocking call.
// f is on no fiber: its blocking calls block that thread. It sees the caller's context_vars. Fibers
// only: else std::system_error(operation_not_permitted).
template <class F>
decltype(auto) offload(F&& f) {
  struct job : sched::awaited_job {
    explicit job(std::remove_reference_t<F>& g) noexcept : awaited_job(&job::run_it), call(g) {}
    static void run_it(sched::offload_job& j) noexcept {
      auto& self = static_cast<job&>(j);
      try {
        const sched::context_snapshot::installed here(self.context);
        self.call.make();
      } catch (...) {  // there is no memory for a context
        self.call.fail(std::current_exception());
      }
    }
    const sched::context_snapshot context;  // f begins with the caller's
    sched::kept_call<F> call;
  } j(f);
  sched::run_offloaded(j);
  return j.call.take();
}

}  // namespace coir
