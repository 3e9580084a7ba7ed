// A count that falls to zero once.
#pragma once
#include <atomic>
#include <chrono>
#include <cstddef>
#include <limits>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

// As std::latch, for fibers and threads in any mix. Waits are blocking calls: cancellation strikes
// there; an arrival that has been made stays made. A count below zero stops the process with a
// message.
class latch {
 public:
  explicit latch(std::ptrdiff_t expected) noexcept;
  latch(const latch&) = delete;
  latch& operator=(const latch&) = delete;
  ~latch();  // with waiters: stops the process with a message

  static constexpr std::ptrdiff_t max() noexcept {
    return std::numeric_limits<std::ptrdiff_t>::max();
  }

  void count_down(std::ptrdiff_t n = 1) noexcept;
  bool try_wait() const noexcept { return count_.load(std::memory_order_acquire) == 0; }

  // Waits until the count is zero; what is so already is no blocking call.
  void wait() const { wait_before(sched::never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) const {
    return wait_before(sched::deadline_after(d));
  }
  template <class Duration>
  bool wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) const {
    return wait_before(sched::deadline_at(t));
  }

  // A request to cancel that is pending strikes before the arrival is made.
  void arrive_and_wait(std::ptrdiff_t n = 1) { arrive_before(n, sched::never); }
  template <class Rep, class Period>
  bool arrive_and_wait_for(std::chrono::duration<Rep, Period> d, std::ptrdiff_t n = 1) {
    return arrive_before(n, sched::deadline_after(d));
  }
  template <class Duration>
  bool arrive_and_wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t,
                             std::ptrdiff_t n = 1) {
    return arrive_before(n, sched::deadline_at(t));
  }

 private:
  bool wait_before(clock::time_point deadline) const;
  bool arrive_before(std::ptrdiff_t n, clock::time_point deadline);

  mutable sched::spin_lock lock_;
  std::atomic<std::ptrdiff_t> count_;  // written under lock_
  mutable sched::wait_queue waiters_;  // under lock_
};

}  // namespace coir
