// Go's channel: values handed from fibers and threads to fibers and threads.
#pragma once
#include <chrono>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#include <coir/sched/channel_core.hpp>
#include <coir/sync/channel_closed.hpp>

namespace coir {

// Holds up to `capacity` items; of capacity 0, each push meets a pop and hands its item over
// directly. Items come out in the order in which they went in, and waiters are served first come,
// first served. Members are for fibers and threads in any mix.
//
// Waits (push, pop, their timed forms, iteration, select) are blocking calls: cancellation strikes
// there. A push that is cancelled, times out or finds the channel closed leaves its item with its
// caller, unmoved; a pop that is cancelled or times out takes nothing. If the move of an item
// throws, the call that asked for it throws that, and the channel is as if it had not been made.
//
// It lives until the calls on it have returned. Whoever has got its last item may destroy it,
// unless a select is among the others.
template <class T>
class channel {
 public:
  using value_type = T;

  // Takes the memory for all items at once, and touches it as it is used. Throws std::length_error
  // for more than can be addressed, std::bad_alloc for more than there is. Nothing else of a
  // channel allocates, but a deadline.
  explicit channel(std::size_t capacity = 0) : core_(capacity, sched::items_of<T>) {}
  ~channel() = default;  // with waiters: stops the process with a message

  // Waits for a free place or, of capacity 0, for a pop. Throws channel_closed, also if the channel
  // is closed meanwhile.
  void push(T item) { push_before(item, sched::never); }
  // Waits for an item. None: the channel is closed and empty.
  std::optional<T> pop() { return pop_before(sched::never); }

  // Never wait, are never cancelled. try_push: whether there was a place, and only then the item
  // has been moved from.
  bool try_push(T&& item) { return push_now(item); }
  bool try_push(const T& item) requires std::copy_constructible<T> {
    T copy(item);
    return push_now(copy);
  }
  std::optional<T> try_pop() {
    std::optional<T> out;
    sched::offer_pop_now(core_, &out);
    return out;
  }

  // False, none: the time is over; the item has not been moved from. No item of pop_for and
  // pop_until: drained() tells the end from a time-out.
  template <class Rep, class Period>
  bool push_for(T&& item, std::chrono::duration<Rep, Period> d) {
    return push_before(item, sched::deadline_after(d));
  }
  template <class Rep, class Period>
  bool push_for(const T& item,
                std::chrono::duration<Rep, Period> d) requires std::copy_constructible<T> {
    T copy(item);
    return push_before(copy, sched::deadline_after(d));
  }
  template <class Duration>
  bool push_until(T&& item, std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return push_before(item, sched::deadline_at(t));
  }
  template <class Duration>
  bool push_until(const T& item,
                  std::chrono::time_point<std::chrono::steady_clock, Duration> t) requires
      std::copy_constructible<T> {
    T copy(item);
    return push_before(copy, sched::deadline_at(t));
  }
  template <class Rep, class Period>
  std::optional<T> pop_for(std::chrono::duration<Rep, Period> d) {
    return pop_before(sched::deadline_after(d));
  }
  template <class Duration>
  std::optional<T> pop_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return pop_before(sched::deadline_at(t));
  }

  // Idempotent. Pushes that wait throw; what is stored can still be popped, then pops give none.
  void close() noexcept { core_.close(); }
  bool closed() const noexcept { return core_.closed(); }
  bool drained() const noexcept { return core_.drained(); }  // closed and empty, for ever

  std::size_t size() const noexcept { return core_.size(); }  // stored now
  std::size_t capacity() const noexcept { return core_.capacity(); }

  // for (auto& item : channel), until it is closed and empty; each step pops.
  class iterator;
  auto begin() { return iterator(*this); }
  auto end() noexcept { return std::default_sentinel; }

 private:
  template <class, class>
  friend class pop_case;
  template <class, class, class>
  friend class push_case;

  sched::channel_case pushing(T& item) noexcept {
    sched::channel_case c;
    c.channel = &core_;
    c.value = &item;
    c.pushes = true;
    return c;
  }
  sched::channel_case popping(std::optional<T>& out) noexcept {
    sched::channel_case c;
    c.channel = &core_;
    c.value = &out;
    return c;
  }
  bool push_before(T& item, clock::time_point deadline) {
    return accepted(sched::offer_push(core_, &item, deadline));
  }
  bool push_now(T& item) { return accepted(sched::offer_push_now(core_, &item)); }
  static bool accepted(sched::deal d) {
    if (d == sched::deal::closed) throw channel_closed();
    return d == sched::deal::done;
  }
  std::optional<T> pop_before(clock::time_point deadline) {
    std::optional<T> out;
    sched::offer_pop(core_, &out, deadline);
    return out;
  }

  sched::channel_core core_;
};

// Moving on pops an item.
template <class T>
class channel<T>::iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;

  explicit iterator(channel& of) : of_(&of), item_(of.pop()) {}
  T& operator*() const noexcept { return *item_; }
  iterator& operator++() {
    item_.reset();
    sched::offer_pop(of_->core_, &item_, sched::never);
    return *this;
  }
  void operator++(int) { ++*this; }
  bool operator==(std::default_sentinel_t) const noexcept { return !item_.has_value(); }

 private:
  channel* of_;
  mutable std::optional<T> item_;
};

}  // namespace coir
