// Mutual exclusion that its owner may take again.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

#include <coir/sched/clock.hpp>
#include <coir/sync/mutex.hpp>

namespace coir {

// As std::recursive_timed_mutex, for fibers and threads in any mix. The owner, a fiber or a thread,
// may lock it again, and unlocks it as often. Waiters get it in the order in which they came.
// Locking is a blocking call also when nobody else has it: cancellation strikes on entry. An unlock
// by somebody else and a destruction while it is held stop the process with a message.
class recursive_mutex {
 public:
  constexpr recursive_mutex() noexcept = default;
  recursive_mutex(const recursive_mutex&) = delete;
  recursive_mutex& operator=(const recursive_mutex&) = delete;
  ~recursive_mutex();

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
  bool lock_before(clock::time_point deadline);
  bool mine(const sched::waiter* me) const noexcept {
    return owner_.load(std::memory_order_relaxed) == me;
  }
  void enter(sched::waiter* me) noexcept;

  mutex inner_;
  // Written by who holds inner_, so whoever reads itself there is right.
  std::atomic<sched::waiter*> owner_{nullptr};
  std::uint64_t depth_ = 0;  // the owner's
};

using recursive_timed_mutex = recursive_mutex;

}  // namespace coir
