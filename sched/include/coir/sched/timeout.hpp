// Time limits of a piece of code, and code that outer cancellation waits for.
#pragma once
#include <chrono>
#include <functional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <coir/sched/cancelled.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/scope.hpp>

namespace coir {

// A timeout ended the code that it was for.
struct timed_out : std::runtime_error {
  timed_out() : std::runtime_error("coir: timed out") {}
};

// The timeout that is open: what with_timeout hands to its function. Any thread, while it is open.
class timeout_scope {
 public:
  timeout_scope(const timeout_scope&) = delete;
  timeout_scope& operator=(const timeout_scope&) = delete;

  // Another deadline, earlier or later; time_point::max(): never. Throws std::logic_error once it
  // has expired.
  template <class Duration>
  void reschedule(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    sched::set_deadline(inner_, sched::deadline_at(t));
  }
  clock::time_point deadline() const noexcept { return sched::deadline_of(inner_); }
  bool expired() const noexcept { return sched::has_expired(inner_); }

 private:
  template <class Duration, class F>
  friend decltype(auto) with_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration>,
                                      F&&);

  explicit timeout_scope(clock::time_point deadline) {
    sched::open_scope(inner_, sched::scope_kind::timeout, deadline, "with_timeout");
  }
  ~timeout_scope() { sched::close_scope(inner_); }

  sched::scope inner_;
};

// asyncio.timeout_at: runs f, on this fiber; f takes nothing or a timeout_scope&. At the deadline
// the fiber is cancelled; if it is that cancellation that leaves f, and no other came with it,
// throws coir::timed_out. A value, another error and a cancellation from outside that leave f win.
// Nests: the earliest deadline wins. A deadline in the past strikes at the first blocking call.
// Fibers only: on a plain thread std::system_error(operation_not_permitted).
template <class Duration, class F>
decltype(auto) with_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t,
                             F&& f) {
  timeout_scope scope(sched::deadline_at(t));
  try {
    if constexpr (std::is_invocable_v<F, timeout_scope&>)
      return std::invoke(std::forward<F>(f), scope);
    else
      return std::invoke(std::forward<F>(f));
  } catch (cancelled& c) {
    if (sched::strike_out(scope.inner_, c)) throw timed_out();
    throw;
  }
}

// asyncio.timeout: the same, for the time from now on.
template <class Rep, class Period, class F>
decltype(auto) with_timeout(std::chrono::duration<Rep, Period> d, F&& f) {
  return with_deadline(sched::deadline_after(d), std::forward<F>(f));
}

// asyncio.shield, for the code itself: runs f, on this fiber; cancellation from outside waits until
// f has returned, and comes at the next blocking call. Timeouts and groups that f opens work. On a
// plain thread, which nobody cancels, calls f.
template <class F>
decltype(auto) shield(F&& f) {
  struct opened {
    opened() : on_fiber(sched::on_fiber()) {
      if (on_fiber) sched::open_scope(inner, sched::scope_kind::shield, sched::never, "shield");
    }
    ~opened() {
      if (on_fiber) sched::close_scope(inner);
    }
    opened(const opened&) = delete;
    opened& operator=(const opened&) = delete;
    const bool on_fiber;
    sched::scope inner;
  } scope;
  return std::invoke(std::forward<F>(f));
}

}  // namespace coir
