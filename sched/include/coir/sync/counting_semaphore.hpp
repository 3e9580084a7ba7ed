// Permits, shared by fibers and threads.
#pragma once
#include <chrono>
#include <cstddef>
#include <limits>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

namespace sched {

class semaphore {
 public:
  semaphore(std::ptrdiff_t permits, std::ptrdiff_t most) noexcept;
  ~semaphore();

  void release(std::ptrdiff_t n) noexcept;
  bool acquire(std::ptrdiff_t n, clock::time_point deadline);
  bool try_acquire(std::ptrdiff_t n) noexcept;

 private:
  void hand_out_locked(ready_list&) noexcept;
  void check(std::ptrdiff_t n) const noexcept;

  spin_lock lock_;
  std::ptrdiff_t permits_;  // under lock_; what waiters have been given is not in it
  const std::ptrdiff_t most_;
  wait_queue waiters_;  // under lock_
};

}  // namespace sched

// As std::counting_semaphore, for fibers and threads in any mix. Served first come, first served: a
// big request is not overtaken by small ones behind it. A cancelled or timed out waiter takes no
// permit. A count below zero or above Max stops the process with a message.
template <std::ptrdiff_t Max = std::numeric_limits<std::ptrdiff_t>::max()>
class counting_semaphore {
 public:
  explicit counting_semaphore(std::ptrdiff_t permits) noexcept : inner_(permits, Max) {}
  counting_semaphore(const counting_semaphore&) = delete;
  counting_semaphore& operator=(const counting_semaphore&) = delete;

  static constexpr std::ptrdiff_t max() noexcept { return Max; }

  void release(std::ptrdiff_t n = 1) noexcept { inner_.release(n); }
  void acquire(std::ptrdiff_t n = 1) { inner_.acquire(n, sched::never); }
  bool try_acquire(std::ptrdiff_t n = 1) noexcept { return inner_.try_acquire(n); }

  template <class Rep, class Period>
  bool try_acquire_for(std::chrono::duration<Rep, Period> d, std::ptrdiff_t n = 1) {
    return inner_.acquire(n, sched::deadline_after(d));
  }
  template <class Duration>
  bool try_acquire_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t,
                         std::ptrdiff_t n = 1) {
    return inner_.acquire(n, sched::deadline_at(t));
  }

 private:
  sched::semaphore inner_;
};

using binary_semaphore = counting_semaphore<1>;

}  // namespace coir
