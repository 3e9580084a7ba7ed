// Functions that are called later, and ticks.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include <coir/sched/clock.hpp>

namespace coir {

namespace sched {

// A function and when it is to run. Shared by the handles and by the fiber that waits for its time.
class delayed_call {
 public:
  delayed_call();
  virtual ~delayed_call();
  delayed_call(const delayed_call&) = delete;
  delayed_call& operator=(const delayed_call&) = delete;

  virtual void call() = 0;  // in a fiber of its own

 private:
  friend class delayed_calls;
  struct state;
  std::unique_ptr<state> state_;
};

void start_later(const std::shared_ptr<delayed_call>&, clock::time_point, const char* call);
bool cancel_later(delayed_call&) noexcept;
bool move_later(const std::shared_ptr<delayed_call>&, clock::time_point);

template <class F>
struct delayed final : delayed_call {
  template <class G>
  explicit delayed(G&& g) : function(std::forward<G>(g)) {}
  void call() override { std::invoke(function); }
  F function;
};

}  // namespace sched

// The handle of a call that was put off: asyncio.TimerHandle. Any thread. The destructor does not
// cancel; a handle may outlive its runtime, and then does nothing.
class timer {
 public:
  timer() noexcept = default;
  explicit timer(std::shared_ptr<sched::delayed_call> c) noexcept : call_(std::move(c)) {}

  // True: the function will not run; false: it has begun, or had been cancelled.
  bool cancel() noexcept { return call_ != nullptr && sched::cancel_later(*call_); }

  // Another time: also after the function has run, which then runs again, and after a cancel.
  // Whether it will: false once the runtime has ended.
  template <class Duration>
  bool reschedule(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return call_ != nullptr && sched::move_later(call_, sched::deadline_at(t));
  }

 private:
  std::shared_ptr<sched::delayed_call> call_;
};

// asyncio's loop.call_at and call_later: runs f then in a fiber of its own, which has a record but
// no stack until its time has come. What f throws goes to options::on_unhandled. Fibers only: else
// std::system_error(operation_not_permitted).
template <class Duration, class F>
timer call_at(std::chrono::time_point<std::chrono::steady_clock, Duration> t, F&& f) {
  auto call = std::make_shared<sched::delayed<std::decay_t<F>>>(std::forward<F>(f));
  sched::start_later(call, sched::deadline_at(t), "call_at");
  return timer(std::move(call));
}
template <class Rep, class Period, class F>
timer call_later(std::chrono::duration<Rep, Period> d, F&& f) {
  return call_at(sched::deadline_after(d), std::forward<F>(f));
}

// What becomes of ticks whose time has passed before somebody asked for them.
enum class missed : unsigned char {
  skip,   // they are left out: the next one is in step with the first
  burst,  // they come at once, one after another
  delay,  // the next one comes a period after the late one
};

// Ticks, a period apart. One fiber or thread at a time.
class interval {
 public:
  // The first tick is one period from now. Throws std::invalid_argument unless the period is
  // positive.
  template <class Rep, class Period>
  explicit interval(std::chrono::duration<Rep, Period> period, missed m = missed::skip)
      : interval(sched::saturated(period), m, 0) {}

  void tick();  // waits for the next one: a blocking call

 private:
  interval(clock::duration, missed, int);

  clock::duration period_;
  clock::time_point next_;
  missed missed_;
};

}  // namespace coir
