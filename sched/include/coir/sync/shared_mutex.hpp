// One writer or many readers, fibers and threads.
#pragma once
#include <chrono>
#include <cstddef>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

// As std::shared_timed_mutex, for fibers and threads in any mix: std's lock guards work. Served
// strictly in the order in which they came, readers that follow each other together, so neither
// side starves; hence who holds it shared must not ask for it again. Cancelled or timed out, it is
// not held. Unlocking what is not held so, locking by the fiber or thread that holds it
// exclusively, and destroying it while it is held stop the process with a message.
class shared_mutex {
 public:
  constexpr shared_mutex() noexcept = default;
  shared_mutex(const shared_mutex&) = delete;
  shared_mutex& operator=(const shared_mutex&) = delete;
  ~shared_mutex();

  // Blocking calls: cancellation strikes there.
  void lock() { lock_before(mode::exclusive, sched::never); }
  void lock_shared() { lock_before(mode::shared, sched::never); }

  // Never wait, are never cancelled, and pass nobody who waits.
  bool try_lock() noexcept { return try_lock_as(mode::exclusive); }
  bool try_lock_shared() noexcept { return try_lock_as(mode::shared); }

  template <class Rep, class Period>
  bool try_lock_for(std::chrono::duration<Rep, Period> d) {
    return lock_before(mode::exclusive, sched::deadline_after(d));
  }
  template <class Duration>
  bool try_lock_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return lock_before(mode::exclusive, sched::deadline_at(t));
  }
  template <class Rep, class Period>
  bool try_lock_shared_for(std::chrono::duration<Rep, Period> d) {
    return lock_before(mode::shared, sched::deadline_after(d));
  }
  template <class Duration>
  bool try_lock_shared_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return lock_before(mode::shared, sched::deadline_at(t));
  }

  void unlock() noexcept;
  void unlock_shared() noexcept;
  // From exclusive to shared with nobody in between who writes; the readers at the head of the line
  // come along.
  void unlock_and_lock_shared() noexcept;

 private:
  enum class mode : std::uint8_t { exclusive, shared };

  bool lock_before(mode, clock::time_point deadline);
  bool try_lock_as(mode) noexcept;
  bool free_for_locked(mode) const noexcept;
  void hold_locked(mode, sched::waiter&) noexcept;
  void hand_out_locked(sched::ready_list&) noexcept;
  void finish(sched::ready_list&) noexcept;

  sched::spin_lock lock_;
  std::size_t readers_ = 0;          // under lock_
  sched::waiter* writer_ = nullptr;  // under lock_
  sched::wait_queue waiters_;        // under lock_; a node's amount is its mode
};

using shared_timed_mutex = shared_mutex;

}  // namespace coir
