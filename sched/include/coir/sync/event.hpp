// asyncio.Event: many wait until somebody sets it.
#pragma once
#include <atomic>
#include <chrono>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

// For fibers and threads in any mix. set() wakes whoever waits then, even if reset() follows at
// once. Waits are blocking calls: cancellation strikes there.
class event {
 public:
  constexpr event() noexcept = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  ~event();  // with waiters: stops the process with a message

  void set() noexcept;
  void reset() noexcept;
  bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }

  void wait() { wait_before(sched::never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) {  // whether it was set
    return wait_before(sched::deadline_after(d));
  }
  template <class Duration>
  bool wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return wait_before(sched::deadline_at(t));
  }

 private:
  bool wait_before(clock::time_point deadline);

  sched::spin_lock lock_;
  std::atomic<bool> set_{false};  // written under lock_
  sched::wait_queue waiters_;     // under lock_
};

}  // namespace coir
