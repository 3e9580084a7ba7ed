// Wakes without a condition: Tokio's Notify.
#pragma once
#include <chrono>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

// For fibers and threads in any mix; first come, first served. It may be destroyed by the one that
// it has woken last.
class notifier {
 public:
  constexpr notifier() noexcept = default;
  notifier(const notifier&) = delete;
  notifier& operator=(const notifier&) = delete;
  ~notifier();  // with waiters: stops the process with a message

  void notify_one() noexcept;  // the one that waits longest; if nobody does, the next wait returns
                               // at once: one permit is kept, never two
  void notify_all() noexcept;  // those who wait now; keeps no permit

  // Blocking calls: cancellation strikes there. A notification is never lost with a waiter that was
  // cancelled or timed out: it goes to the next, or is kept.
  void wait() { wait_before(sched::never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) {  // whether it was notified
    return wait_before(sched::deadline_after(d));
  }
  template <class Duration>
  bool wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return wait_before(sched::deadline_at(t));
  }

 private:
  bool wait_before(clock::time_point deadline);

  sched::spin_lock lock_;
  bool permit_ = false;        // under lock_; never while somebody waits
  sched::wait_queue waiters_;  // under lock_
};

}  // namespace coir
