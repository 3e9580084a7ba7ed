// A thread whose fibers another library schedules, as a host of coir's: its fibers wait in our
// reactor, call our I/O, and share locks and channels with ours. <coir/interop/boost_fiber.hpp>
// uses it for Boost.Fiber.
//
// Guests know no cancellation, have no fiber locals, and cannot spawn fibers of ours unless a
// runtime is named.
#pragma once
#include <memory>

#include <coir/sched/clock.hpp>
#include <coir/sched/options.hpp>
#include <coir/sched/waiter.hpp>

namespace coir::interop {

// One fiber of the other library, as ours knows it. Never freed, because late messages may name it.
struct guest_fiber : sched::waiter {
  void* foreign = nullptr;  // the scheduler's own
  bool woken = false;       // its wait is over; the thread's own
  guest_fiber* next_free = nullptr;
};

// What the scheduler has to do for us; called on its thread.
class guest_scheduler {
 public:
  // The running fiber gives its stack away until make_ready() or the deadline; may return early.
  virtual void suspend(guest_fiber&, clock::time_point deadline) noexcept = 0;
  // From poll() and wait() only. It may be ready already, by its deadline.
  virtual void make_ready(guest_fiber&) noexcept = 0;
  virtual void yield() noexcept = 0;

 protected:
  ~guest_scheduler() = default;
};

// Made and destroyed on the thread that it makes a host, when no call of its fibers is in flight.
class guest_thread {
 public:
  // Of the options only the reactor counts. Throws std::system_error as runtime's constructor;
  // std::logic_error on a worker.
  guest_thread(guest_scheduler&, const options&);
  ~guest_thread();
  guest_thread(const guest_thread&) = delete;
  guest_thread& operator=(const guest_thread&) = delete;

  guest_fiber& enter(void* foreign);         // throws std::bad_alloc
  static void leave(guest_fiber&) noexcept;  // its fiber is gone; any thread

  // Says which runs from now on; null: the scheduler's own loop.
  void runs(guest_fiber*) noexcept;

  // In the loop: makes ready who was woken and whose operations have completed. wait() first blocks
  // until there is one, somebody interrupts, or the deadline has come.
  void poll() noexcept;
  void wait(clock::time_point deadline) noexcept;
  void interrupt() noexcept;  // any thread

 private:
  class host;
  host* host_;
};

}  // namespace coir::interop
