// Waiting for a condition under a coir::mutex.
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>
#include <coir/sync/mutex.hpp>

namespace coir {

// As std::condition_variable, for fibers and threads in any mix; waiters are served first come,
// first served. A wait that is cancelled throws with its lock held again, and a notification that
// it had been given stays taken.
class condition_variable {
 public:
  constexpr condition_variable() noexcept = default;
  condition_variable(const condition_variable&) = delete;
  condition_variable& operator=(const condition_variable&) = delete;
  ~condition_variable();  // with waiters: stops the process with a message

  void notify_one() noexcept;
  void notify_all() noexcept;

  void wait(std::unique_lock<mutex>& held) { wait_before(held, sched::never); }
  template <class Predicate>
  void wait(std::unique_lock<mutex>& held, Predicate until) {
    while (!until()) wait(held);
  }

  template <class Rep, class Period>
  std::cv_status wait_for(std::unique_lock<mutex>& held, std::chrono::duration<Rep, Period> d) {
    return wait_before(held, sched::deadline_after(d));
  }
  template <class Rep, class Period, class Predicate>
  bool wait_for(std::unique_lock<mutex>& held, std::chrono::duration<Rep, Period> d,
                Predicate until) {
    return wait_until(held, sched::deadline_after(d), std::move(until));
  }
  template <class Duration>
  std::cv_status wait_until(std::unique_lock<mutex>& held,
                            std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return wait_before(held, sched::deadline_at(t));
  }
  template <class Duration, class Predicate>
  bool wait_until(std::unique_lock<mutex>& held,
                  std::chrono::time_point<std::chrono::steady_clock, Duration> t, Predicate until) {
    while (!until())
      if (wait_until(held, t) == std::cv_status::timeout) return until();
    return true;
  }

 private:
  std::cv_status wait_before(std::unique_lock<mutex>& held, clock::time_point deadline);

  sched::spin_lock lock_;
  sched::wait_queue waiters_;  // under lock_
};

}  // namespace coir
