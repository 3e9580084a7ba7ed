// Mutual exclusion between fibers and threads.
#pragma once
#include <chrono>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

namespace sched {
class work_gate;
}

// As std::timed_mutex, for fibers and threads in any mix: std's lock guards work. A waiter parks;
// unlock hands the mutex to the one that has waited longest. Not recursive: a second lock by its
// owner, like an unlock by somebody else and a destruction while it is held, stops the process with
// a message. A blocking call: cancellation strikes in lock() and its timed forms, and then the
// mutex is not held.
class mutex {
 public:
  constexpr mutex() noexcept = default;
  mutex(const mutex&) = delete;
  mutex& operator=(const mutex&) = delete;
  ~mutex();

  void lock();
  bool try_lock() noexcept;  // never waits, is never cancelled
  void unlock() noexcept;

  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> d) {
    return lock_before(sched::deadline_after(d));
  }
  template <class Duration>
  bool try_lock_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return lock_before(sched::deadline_at(t));
  }

 private:
  friend class condition_variable;
  friend class sched::work_gate;
  sched::waiter* hand_over() noexcept;  // unlocks; whom the caller has to wake, or null
  void lock_uncancelled() noexcept;     // whatever is pending: for who must hold it again
  bool lock_before(clock::time_point deadline);
  sched::outcome acquire(clock::time_point deadline, bool cancellable);

  sched::spin_lock lock_;
  sched::waiter* owner_ = nullptr;  // under lock_
  sched::wait_queue waiters_;       // under lock_
};

using timed_mutex = mutex;

}  // namespace coir
