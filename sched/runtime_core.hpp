// What the workers of one runtime share.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <coir/fiber/stack.hpp>
#include <coir/sched/options.hpp>
#include <coir/sched/parts.hpp>
#include <coir/sched/spawn_options.hpp>
#include <coir/sched/task.hpp>

#include "fork_guard.hpp"
#include "idle_set.hpp"
#include "injector.hpp"
#include "late_alarms.hpp"
#include "offload_pool.hpp"
#include "record_store.hpp"
#include "worker.hpp"

namespace coir {
class runtime;
}

namespace coir::sched {

struct context_node;

class runtime_core {
 public:
  runtime_core(options, parts, runtime& owner);
  ~runtime_core();

  // A new fiber is counted before it is started: spawn.cpp. Throws std::logic_error after shutdown;
  // then there is no fiber.
  void admit(fiber_record& f, worker& by) {
    by.counts.add(by.counts.spawned);
    std_atomics::light_fence();  // counted, then looked; shutdown refuses, then counts behind a
                                 // heavy fence
    if (refusing.load(std::memory_order_relaxed)) [[unlikely]]
      refuse(f);
  }
  void admit(fiber_record&);  // by any other thread
  [[noreturn]] static void say_refused();
  void equip(fiber_record&, std::string name, context_node*);  // a copy of its starter's context
  void refuse_forked() const {
    if (in_forked_child()) [[unlikely]]
      throw std::logic_error("coir: a runtime does not survive fork(2): make one in the child");
  }
  // Before anything is counted: those who never cease to spawn do not keep a shutdown waiting.
  void refuse_late() const {
    if (refusing.load(std::memory_order_relaxed)) [[unlikely]]
      say_refused();
  }
  std::uint32_t default_stack_pages() const noexcept { return default_stack_pages_; }
  void request_cancellation(fiber_record&,
                            std::uint32_t attention) noexcept;  // any thread that has a reference
  void enqueue(fiber_record&) noexcept;  // from any thread that is no worker of this runtime
  void unhandled(std::exception_ptr, const fiber_record&) noexcept;

  worker* this_worker() noexcept;  // the calling thread's, if it is one of this runtime's

  // In steps; sched/README.md. False: the limit passed, and the fibers that still live are
  // abandoned. Calls `late` before that. Of several at once the earliest limit counts for all.
  bool shutdown(clock::time_point limit, const std::function<void()>& late);
  bool in_forked_child() const noexcept {
    return fork_generation.load(std::memory_order_relaxed) != made_in_;
  }
  bool abandoned() const noexcept { return abandoned_; }
  std::size_t hogs() const noexcept { return hogs_; }  // workers whose fiber never returned
  std::uint64_t alive() const noexcept;
  void fiber_ended() noexcept;  // by a worker, once the runtime is stopping

  // A task for which there is no stack: it waits, and fails if nothing could ever free one.
  void starve(fiber_record&) noexcept;
  bool anyone_starves() const noexcept { return !starving.empty() || !starving_others.empty(); }
  bool starvation_resolved() noexcept;   // asked by each worker before it sleeps
  bool wake_one_with_stacks() noexcept;  // true: there was one
  bool is_reserve(const fiber::stack* s) const noexcept { return s == reserve_; }
  bool took_back_reserve(const fiber::stack* of_the_ended) noexcept {  // was it that?
    if (!is_reserve(of_the_ended)) [[likely]]
      return false;
    reserve_in_use_.store(false, std::memory_order_release);
    return true;
  }
  std::uint64_t turns_of_all() const noexcept;

  // Asked by who is about to sleep: whether all sleep, nothing but a fiber or thread could wake
  // one, and something has run since the last look. Looked into by who has slept so for a while.
  bool may_be_deadlocked() const noexcept;
  void look_for_deadlock() noexcept;

  options opts;
  const parts made_of;
  runtime& owner;
  fiber::stack_pool stacks;
  idle_set idle;
  record_store& records;
  injector injected;
  injector starving;         // tasks that wait for a stack of the usual size
  injector starving_others;  // and of other sizes
  late_alarms_list late_alarms;
  offload_pool offloads;
  std::vector<std::unique_ptr<worker>> workers;
  std::string reactor_name, reactor_reason;
  std::atomic<std::uint64_t> spawned_outside{0};
  std::atomic<std::uint64_t> next_number{1};  // of fibers; workers take blocks

  std::atomic<bool> refusing{false};                 // step 1
  std::atomic<bool> leaving{false};                  // step 6
  std::atomic<std::uint64_t> stacks_wanted{0};       // tasks that found none, ever
  std::atomic<bool> someone_polls{false};            // idle polling: one worker at most
  std::atomic<unsigned> sentinel{idle_set::nobody};  // the sleeper that looks after hogs
  clock::time_point watched;                         // since when; the sentinel's

 private:
  [[noreturn]] void refuse(fiber_record&);  // a spawn, for the runtime has been shut down
  void start_workers();
  void thread_main(worker&);
  void leave();
  void drop_unstarted(fiber_record&) noexcept;
  void cancel_all() noexcept;
  bool nothing_is_awaited() const noexcept;
  std::uint64_t switches_of_all() const noexcept;

  fiber::stack* reserve_ = nullptr;  // to end a task on for which there is no stack
  std::atomic<bool> reserve_in_use_{false};
  std::atomic<std::uint64_t> looked_at_{0};  // switches_of_all() when a deadlock was looked for
  const unsigned made_in_ = watch_forks();
  std::uint32_t default_stack_pages_ = 0;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t attached_ = 0, left_ = 0;  // threads; under mutex_
  bool started_ = false;                 // under mutex_
  std::exception_ptr attach_error_;      // under mutex_

  // --- the end
  bool end_within_limit();
  void abandon() noexcept;
  void leave_to_parent();
  bool ending_ = false, stopped_ = false;        // a shutdown has begun, has ended; under mutex_
  std::atomic<clock::time_point> limit_{never};  // the earliest; changed under mutex_
  const std::function<void()>* late_ = nullptr;  // of who gave that limit; under mutex_
  std::atomic<bool> abandoned_{false};  // by who conducts it; read by workers that saw leaving
  std::size_t hogs_ = 0;                // the same
};

// An error that left a fiber and that nobody waits for. Any thread; the runtime may be gone.
void report_unhandled(record_store&, const std::exception_ptr&, fiber_record&) noexcept;
void report_error(record_store&, const std::exception_ptr&, const fiber_record&) noexcept;
void print_unhandled(const std::exception_ptr&, const fiber_record&) noexcept;

}  // namespace coir::sched
