// Waiting for a condition under any lock.
#pragma once
#include <chrono>
#include <condition_variable>
#include <memory>
#include <stop_token>
#include <utility>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

namespace sched {

// The line of a condition_variable_any. Waiters keep it alive: they may still be on their way out
// when the object has gone. A waiter enrols while it holds the user's lock and parks after it has
// let go of it, which may take long; a notification in between is noted in its node.
class any_condition {
 public:
  void notify_one() noexcept { notify(true); }
  void notify_all() noexcept { notify(false); }
  void enrol(wait_node&) noexcept;
  bool withdraw(wait_node&) noexcept;  // of one that has not parked; whether it had been notified
  outcome wait(wait_node&, clock::time_point deadline);  // enrolled; it is not any more
  bool somebody_waits() noexcept;

 private:
  void notify(bool one) noexcept;

  spin_lock lock_;
  wait_queue waiters_;  // under lock_; who is null: has not parked, and then amount: was notified
};

// While one lives, nothing that its fiber waits for is ended by cancellation.
class uncancelled {
 public:
  uncancelled() noexcept;
  ~uncancelled();
  uncancelled(const uncancelled&) = delete;
  uncancelled& operator=(const uncancelled&) = delete;
};

}  // namespace sched

// As std::condition_variable_any, for fibers and threads in any mix; waiters are served first come,
// first served. Lock: any with lock() and unlock(). A wait that is cancelled throws with its lock
// held again; a notification that it was given is never lost with it. It may be destroyed once
// everybody has been notified.
class condition_variable_any {
 public:
  condition_variable_any() : core_(std::make_shared<sched::any_condition>()) {}
  condition_variable_any(const condition_variable_any&) = delete;
  condition_variable_any& operator=(const condition_variable_any&) = delete;
  ~condition_variable_any();  // with waiters: stops the process with a message

  void notify_one() noexcept { core_->notify_one(); }
  void notify_all() noexcept { core_->notify_all(); }

  template <class Lock>
  void wait(Lock& held) {
    wait_before(held, sched::never);
  }
  template <class Lock, class Predicate>
  void wait(Lock& held, Predicate until) {
    while (!until()) wait(held);
  }
  template <class Lock, class Rep, class Period>
  std::cv_status wait_for(Lock& held, std::chrono::duration<Rep, Period> d) {
    return wait_before(held, sched::deadline_after(d));
  }
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& held, std::chrono::duration<Rep, Period> d, Predicate until) {
    return wait_until(held, sched::deadline_after(d), std::move(until));
  }
  template <class Lock, class Duration>
  std::cv_status wait_until(Lock& held,
                            std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return wait_before(held, sched::deadline_at(t));
  }
  template <class Lock, class Duration, class Predicate>
  bool wait_until(Lock& held, std::chrono::time_point<std::chrono::steady_clock, Duration> t,
                  Predicate until) {
    while (!until())
      if (wait_until(held, t) == std::cv_status::timeout) return until();
    return true;
  }

  // The same until a stop is requested; whether the condition holds.
  template <class Lock, class Predicate>
  bool wait(Lock& held, std::stop_token stop, Predicate until) {
    return wait_until(held, std::move(stop), sched::never, std::move(until));
  }
  template <class Lock, class Rep, class Period, class Predicate>
  bool wait_for(Lock& held, std::stop_token stop, std::chrono::duration<Rep, Period> d,
                Predicate until) {
    return wait_until(held, std::move(stop), sched::deadline_after(d), std::move(until));
  }
  template <class Lock, class Duration, class Predicate>
  bool wait_until(Lock& held, std::stop_token stop,
                  std::chrono::time_point<std::chrono::steady_clock, Duration> t, Predicate until) {
    if (stop.stop_requested()) return until();
    const std::stop_callback wake(stop, [&core = *core_] { core.notify_all(); });
    const clock::time_point deadline = sched::deadline_at(t);
    while (!until()) {
      const auto how = wait_before(held, deadline, &stop);
      if (how == std::cv_status::timeout || stop.stop_requested()) return until();
    }
    return true;
  }

 private:
  // Lets go of the lock; takes it again, whatever is pending. As with std, a lock that throws there
  // ends the process.
  template <class Lock>
  struct released {
    explicit released(Lock& held) : lock(held) { lock.unlock(); }
    ~released() {
      const sched::uncancelled whatever_is_pending;
      lock.lock();
    }
    Lock& lock;
  };

  // Leaves the line however the unlocking ends, and passes on what it was given there.
  struct place_in_line {
    explicit place_in_line(sched::any_condition& c) noexcept : core(c) { core.enrol(node); }
    ~place_in_line() {
      if (enrolled && core.withdraw(node)) core.notify_one();
    }
    sched::any_condition& core;
    sched::wait_node node;
    bool enrolled = true;
  };

  template <class Lock>
  std::cv_status wait_before(Lock& held, clock::time_point deadline,
                             const std::stop_token* stop = nullptr) {
    sched::waiter& me = *sched::current_host().running;
    sched::cancellation_point(me);
    const std::shared_ptr<sched::any_condition> core = core_;
    sched::outcome how;
    {
      place_in_line here(*core);
      if (stop != nullptr && stop->stop_requested()) return std::cv_status::no_timeout;
      const released<Lock> without(held);
      here.enrolled = false;
      how = core->wait(here.node, deadline);
    }
    if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
    return how == sched::outcome::timed_out ? std::cv_status::timeout : std::cv_status::no_timeout;
  }

  std::shared_ptr<sched::any_condition> core_;
};

}  // namespace coir
