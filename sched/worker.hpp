// A worker: the host of a runtime's fibers, one OS thread.
//
// Always true: at most one fiber runs; a fiber that is ready is in exactly one place (a worker's
// queue or its run-next slot, an arrivals box, the injector); what lies behind the gate is touched
// only from behind it.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>

#include <coir/fiber/context.hpp>
#include <coir/fiber/stack.hpp>
#include <coir/sched/fiber_record.hpp>
#include <coir/sched/host.hpp>

#include "gate.hpp"
#include "inbox.hpp"
#include "record_store.hpp"
#include "run_queue.hpp"
#include "timer_heap.hpp"

namespace coir::sched {

class injector;
class runtime_core;

// A task that starts at a time, and not when it is spawned: parked, without a stack.
struct deferral {
  clock::time_point at = never;
  worker* where = nullptr;  // in whose heap
  wait_generation wait = 0;
  armed_timer timer = {};
};

class worker final : public host, private fiber::carrier {
 public:
  worker(runtime_core& core, unsigned index, std::unique_ptr<driver> io);
  ~worker() override;

  // --- any thread
  // -------------------------------------------------------------------------------------------
  void unpark(waiter&) noexcept override;
  void post(request&) noexcept override;
  void abandon_timer(const armed_timer& t) noexcept { timers_.abandon(t); }
  void drop_messages() noexcept;             // of a worker whose thread has ended
  void post_cancel(fiber_record&) noexcept;  // a reference goes with it
  void interrupt() noexcept { io->interrupt(); }
  bool can_only_be_woken_by_fibers() const noexcept {  // a snapshot, while it sleeps
    return asleep_.load(std::memory_order_relaxed) && earliest_deadline() == never &&
           !waits_for_io_.load(std::memory_order_relaxed);
  }
  std::size_t timers() const noexcept { return timer_count_.load(std::memory_order_relaxed); }
  std::size_t io_in_flight() const noexcept {
    return io_in_flight_.load(std::memory_order_relaxed);
  }
  zero_copy_counts zero_copies() const noexcept { return io->zero_copies(); }
  bool sleeps_on_stacks() const noexcept {  // a snapshot
    return stacks_asleep_.load(std::memory_order_relaxed) != 0;
  }
  std::uint64_t turns() const noexcept { return turns_.load(std::memory_order_relaxed); }
  std::size_t stealable() const noexcept {
    return waiting_.load(std::memory_order_relaxed).movable();
  }
  clock::time_point earliest_deadline() const noexcept {
    return clock::time_point(clock::duration(earliest_.load(std::memory_order_relaxed)));
  }

  runtime_core& core;
  const unsigned index;

  // Written by the owner, read by anybody: sums over the workers are snapshots.
  struct counters {
    std::atomic<std::uint64_t> spawned{0}, ended{0}, switches{0}, steals{0}, stolen{0}, sleeps{0};
    void add(std::atomic<std::uint64_t>& c, std::uint64_t n = 1) noexcept {
      c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
  } counts;

  // --- the fiber that runs here (the owner)
  // -------------------------------------------------------------------
  void park(waiter&, after_switch, clock::time_point deadline) noexcept override;
  void park_operation(waiter&, operation&, clock::time_point deadline) noexcept override;
  void make_room_for_deadline() override;
  armed_timer arm(clock::time_point, waiter&, wait_generation) noexcept;  // room has been made
  void disarm(worker& armed_at, const armed_timer&, const waiter& of) noexcept;
  void yield() noexcept override;
  // For "waits since": steps of a 128th of a second, exact to a turn of the loop. Wraps in a year.
  static std::uint32_t moment(clock::time_point t) noexcept {
    using steps = std::chrono::duration<std::int64_t, std::ratio<1, 128>>;
    return static_cast<std::uint32_t>(
        std::chrono::duration_cast<steps>(t.time_since_epoch()).count());
  }
  std::uint64_t next_number() noexcept {  // an id for a new fiber
    if (number_ == numbers_end_) take_numbers();
    return number_++;
  }
  void run_failed(fiber_record&, fiber::stack&) noexcept;  // one that only ends; its loop calls
  void forget_ready() noexcept;                      // by shutdown, past its limit; any thread
  fiber_record& allocate(std::uint32_t size_class);  // may throw std::bad_alloc
  void recycle(fiber_record&) noexcept;
  void start(fiber_record&) noexcept;               // a new task, to the tail
  void put_off(fiber_record&, deferral&) noexcept;  // room for a deadline has been made
  inline bool join_unstarted(fiber_record&, fiber_record& joiner, bool cancellable,
                             clock::time_point deadline) noexcept;
  bool measures_stacks() const noexcept { return measures_; }
  bool unwinding() const noexcept { return carrier::exceptions->uncaught != 0; }
  fiber_record* current() const noexcept { return static_cast<fiber_record*>(running); }

  // --- the owner thread
  // ----------------------------------------------------------------------------------------
  void attach();  // throws what the driver throws
  void run();     // until the runtime tells its workers to leave
  void detach() noexcept;

 private:
  friend class visit;  // what is taken up behind a gate
  friend struct worker_world;

  static void fiber_main(fiber::carrier&, fiber::context&) noexcept;
  [[noreturn]] static void end_current(fiber_record&) noexcept;
  static void end_fiber(fiber_record&) noexcept;
  [[noreturn]] void leave(fiber::stack*, waiter* first, wait_generation joined) noexcept;
  static waiter* take_stack_back(void* on, void* left) noexcept;
  void count_end() noexcept;

  // Behind the gate.
  fiber_record* take_next_locked() noexcept;
  void take_numbers() noexcept;
  bool bind_locked(fiber_record&) noexcept;
  void push_locked(fiber_record&) noexcept;
  void push_next_locked(fiber_record&) noexcept;
  void publish_length_locked() noexcept;  // for those outside
  std::size_t length() const noexcept { return waiting_.load(std::memory_order_relaxed).all(); }
  void parks(fiber_record& f) const noexcept {
    f.since.store(moment_, std::memory_order_relaxed);
    if (measures_) [[unlikely]]
      measure(f);
    f.state.store(task_state::parked, std::memory_order_relaxed);
  }
  static void measure(fiber_record&) noexcept;
  void publish_deadline_locked() noexcept;
  worker& switch_locked(fiber_record* to, fiber::context& from, fiber::departure) noexcept;
  void finish_switch() noexcept;

  void ready(fiber_record&, bool run_next) noexcept;
  bool scatter(fiber_record&) noexcept;  // in a race: to any worker; true if it has gone there
  void take_in(ready_list&) noexcept;
  void interrupt_if_asleep() noexcept {  // after a push to an inbox, which fences
    if (asleep_.load(std::memory_order_relaxed) &&
        asleep_.exchange(false, std::memory_order_relaxed))
      interrupt();
  }
  armed_timer arm_locked(clock::time_point, waiter&, wait_generation);
  void stop(waiter&, operation::stop) noexcept;

  // The loop.
  void look_around() noexcept;
  bool run_ready(std::uint32_t ticks) noexcept;
  bool search() noexcept;
  bool poll_a_while() noexcept;
  void sleep() noexcept;
  void feed(injector& line, std::size_t n) noexcept;
  void sweep_timers() noexcept;
  bool has_messages() const noexcept;
  bool work_in_sight() const noexcept;
  clock::time_point wake_up_time() noexcept;
  void notify() noexcept;
  void wake_one() noexcept;
  void end_search() noexcept;

  static bool stays_stealable(const worker& victim) noexcept;
  bool steal_from(worker& victim, bool from_hog) noexcept;
  void rescue(worker& hog) noexcept;
  void begin_watch(clock::time_point now) noexcept;
  bool is_hog(const worker&) const noexcept;
  bool any_hog() const noexcept;
  void end_watch() noexcept;
  void look_after_hogs() noexcept;
  void watch_if_nobody_sleeps(clock::time_point now) noexcept;
  void ask_for_sentinel() noexcept;

  // The owner's own.
  fiber::context loop_;
  fiber::context dying_;
  fiber::stack thread_stack_;
  after_switch after_;
  std::uint32_t moment_ = 0;  // of this turn
  std::uint32_t ticks_left_ = 0;
  std::uint32_t next_uses_ = 0;
  bool oldest_first_ = false;  // of the queue; once a turn
  bool searching_ = false;
  bool slept_ = false;  // since something was run
  const bool scatters_, measures_;
  std::uint32_t random_;
  std::uint32_t stacks_freed_ = 0;   // since the starving were last looked at
  std::uint32_t lost_searches_ = 0;  // in a row, while something was in sight
  std::uint32_t poll_misses_ = 0;    // idle polls in a row that brought nothing
  std::uint32_t poll_skips_ = 0;     // idle polls to leave out
  std::unique_ptr<driver> driver_;
  std::uint64_t number_ = 0, numbers_end_ = 0;  // ids of fibers to come
  clock::time_point next_watch_;                // while it never runs dry
  std::uint64_t turns_at_watch_ = 0;  // of all workers, when this one last became the sentinel
  fiber::stack_cache stacks_;
  free_records records_;

  // Behind the gate.
  alignas(64) gate gate_;
  run_queue queue_;
  fiber_record* next_ = nullptr;
  timer_heap timers_;

  // Written behind the gate, read by anybody.
  alignas(64) std::atomic<queue_counts> waiting_{};  // in queue_; not in the run-next slot
  std::atomic<clock::rep> earliest_{clock::duration::max().count()};
  std::atomic<std::size_t> timer_count_{0};
  std::atomic<std::size_t> io_in_flight_{0};  // at the last turn or sleep
  std::atomic<std::uint64_t> turns_{0};       // of the loop: a rescuer tells a hog by it
  std::atomic<bool> asleep_{false};
  std::atomic<bool> waits_for_io_{false};      // while asleep
  std::atomic<std::size_t> stacks_asleep_{0};  // cached, while asleep; 0 while awake
  std::uint64_t turns_seen_ = 0;               // the sentinel's

  // Pushed to by anybody, taken behind the gate.
  alignas(64) basic_inbox<request, &request::inbox_next> requests_;
  basic_inbox<waiter, &waiter::cancel_next> cancels_;
  basic_inbox<waiter, &waiter::next> arrivals_;  // pinned fibers made ready elsewhere
};

}  // namespace coir::sched
