// Waits for the first of several pushes and pops.
#pragma once
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <coir/sync/channel.hpp>

namespace coir {

// The cases below live in the expression that calls select, and keep references: to the channel,
// and to an item that is given as T&&. A null pointer to a channel is never ready.
template <class T, class F>
class pop_case {
 public:
  pop_case(channel<T>* from, F f) : from_(from), f_(std::move(f)) {}

  sched::channel_case offered() noexcept {
    return from_ != nullptr ? from_->popping(item_) : sched::channel_case{};
  }
  void taken(sched::deal) { std::invoke(f_, std::move(item_)); }

 private:
  channel<T>* from_;
  std::optional<T> item_;
  F f_;
};

// V: T&&, the caller's, or T, a copy or what something else was converted to.
template <class T, class V, class F>
class push_case {
 public:
  template <class From>
  push_case(channel<T>* to, From&& item, F f)
      : to_(to), item_(std::forward<From>(item)), f_(std::move(f)) {}

  sched::channel_case offered() noexcept {
    return to_ != nullptr ? to_->pushing(item_) : sched::channel_case{};
  }
  void taken(sched::deal how) {
    if (how == sched::deal::closed) throw channel_closed();
    std::invoke(f_);
  }

 private:
  channel<T>* to_;
  V item_;
  F f_;
};

// When none of the others was ready in time, or at all.
template <class F>
struct timeout_case {
  clock::time_point deadline;
  F f;
};
// The case that runs when no other is ready: made by otherwise().
template <class F>
struct otherwise_case {
  F f;
};

// f(std::optional<T>): the item; none: the channel is closed and empty.
template <class T, class F>
auto on_pop(channel<T>& from, F f) {
  return pop_case<T, F>(&from, std::move(f));
}
template <class T, class F>
auto on_pop(channel<T>* from, F f) {
  return pop_case<T, F>(from, std::move(f));
}

// f(), after the item was taken; it is moved from only then. Ready too when the channel is closed:
// select then throws channel_closed.
template <class T, class V, class F>
auto on_push(channel<T>* to, V&& item, F f) {
  using held = std::conditional_t<std::is_same_v<V, T>, T&&, T>;
  return push_case<T, held, F>(to, std::forward<V>(item), std::move(f));
}
template <class T, class V, class F>
auto on_push(channel<T>& to, V&& item, F f) {
  return on_push(&to, std::forward<V>(item), std::move(f));
}

template <class Rep, class Period, class F>
auto on_timeout(std::chrono::duration<Rep, Period> d, F f) {
  return timeout_case<F>{sched::deadline_after(d), std::move(f)};
}
template <class Duration, class F>
auto on_timeout(std::chrono::time_point<std::chrono::steady_clock, Duration> t, F f) {
  return timeout_case<F>{sched::deadline_at(t), std::move(f)};
}

template <class F>
auto otherwise(F f) {
  return otherwise_case<F>{std::move(f)};
}

namespace sched {

// What the cases of a select come to besides pushes and pops: the first `otherwise` and the
// earliest time-out decide.
struct select_limits {
  std::size_t otherwise = no_case, timeout = no_case;
  clock::time_point deadline = never;
};

template <class F>
channel_case offered_by(timeout_case<F>& c, std::size_t index, select_limits& limits) noexcept {
  if (limits.timeout == no_case || c.deadline < limits.deadline) {
    limits.timeout = index;
    limits.deadline = c.deadline;
  }
  return {};
}
template <class F>
channel_case offered_by(otherwise_case<F>&, std::size_t index, select_limits& limits) noexcept {
  if (limits.otherwise == no_case) limits.otherwise = index;
  return {};
}
template <class Case>
channel_case offered_by(Case& c, std::size_t, select_limits&) noexcept {
  return c.offered();
}

template <class F>
void run_case(timeout_case<F>& c, deal) {
  std::invoke(c.f);
}
template <class F>
void run_case(otherwise_case<F>& c, deal) {
  std::invoke(c.f);
}
template <class Case>
void run_case(Case& c, deal how) {
  c.taken(how);
}

}  // namespace sched

// Takes one case that can be had, each of those with the same chance; waits if there is none; runs
// its f on the caller's stack, when the item has changed hands, and returns its index. With
// otherwise() it never waits and is never cancelled. A blocking call for fibers and threads:
// cancellation strikes in it, and then no item was moved. If no case can ever be ready (all null),
// it waits for cancellation, on a plain thread for ever. It does not match a push of its own with a
// pop of its own.
// Throws std::invalid_argument without any case, channel_closed for a push case whose channel is
// closed, and what f or the move of the item throws.
template <class... Cases>
std::size_t select(Cases&&... cases) {
  if constexpr (sizeof...(Cases) == 0) {
    throw std::invalid_argument("coir: select without a case");
  } else {
    sched::select_limits limits;
    std::size_t at = 0;
    std::array<sched::channel_case, sizeof...(Cases)> offers{
        sched::offered_by(cases, at++, limits)...};
    const bool may_wait = limits.otherwise == sched::no_case;
    std::size_t taken = sched::offer_any(offers, limits.deadline, may_wait);
    const sched::deal how = taken == sched::no_case ? sched::deal::done : offers[taken].agreed;
    if (taken == sched::no_case) taken = may_wait ? limits.timeout : limits.otherwise;
    at = 0;
    static_cast<void>(((at++ == taken && (sched::run_case(cases, how), true)) || ...));
    return taken;
  }
}

}  // namespace coir
