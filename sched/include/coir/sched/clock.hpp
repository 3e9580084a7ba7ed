// Time as the library measures it.
#pragma once
#include <chrono>
#include <cmath>
#include <concepts>
#include <stdexcept>
#include <type_traits>

namespace coir {

// steady_clock, or the virtual clock of the runtime that runs the caller. Deadlines of every call
// are of this type.
struct clock {
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr bool is_steady = true;
  static time_point now() noexcept;  // any fiber, any thread
};

namespace sched {

inline constexpr clock::time_point never = clock::time_point::max();

// Any duration as the clock's: too long saturates, a NaN is a bad argument.
template <class Rep, class Period>
clock::duration saturated(std::chrono::duration<Rep, Period> d) {
  using wide = std::chrono::duration<long double, clock::period>;
  if constexpr (std::is_floating_point_v<Rep>)
    if (std::isnan(d.count())) throw std::invalid_argument("coir: a duration is not a number");
  const auto ticks = std::chrono::duration_cast<wide>(d).count();
  if (ticks >= static_cast<long double>(clock::duration::max().count()))
    return clock::duration::max();
  if (ticks <= static_cast<long double>(clock::duration::min().count()))
    return clock::duration::min();
  // Out of the wide value: in d's own type it may round up to more than there is, or overflow on
  // the way.
  return clock::duration(static_cast<clock::rep>(ticks));
}

// t + d, as far as time goes; d is not negative.
inline clock::time_point later(clock::time_point t, clock::duration d) noexcept {
  return d >= never - t ? never : t + d;
}

// The deadline that lies `d` ahead: the past is at once, too long is never.
template <class Rep, class Period>
clock::time_point deadline_after(std::chrono::duration<Rep, Period> d) {
  const clock::duration wait = saturated(d);
  const auto now = clock::now();
  if (wait <= clock::duration::zero()) return now;
  return later(now, wait);
}

template <class Duration>
clock::time_point deadline_at(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
  return clock::time_point(saturated(t.time_since_epoch()));
}

}  // namespace sched
}  // namespace coir
