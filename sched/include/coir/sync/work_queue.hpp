// asyncio's queues: work that is put, got and said to be done, in an order of choice.
#pragma once
#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/ordered_items.hpp>
#include <coir/sched/work_gate.hpp>
#include <coir/sync/channel_closed.hpp>

namespace coir {

// For fibers and threads in any mix; waiters are served first come, first served. A put that is
// cancelled, times out, throws or finds the queue shut down leaves its item with its caller; a get
// that is cancelled or times out takes nothing. Waits are blocking calls: cancellation strikes
// there.
template <class T, class Order = fifo>
class work_queue {
 public:
  explicit work_queue(std::size_t max_size = 0) : gate_(max_size) {}  // 0: no bound
  work_queue(const work_queue&) = delete;
  work_queue& operator=(const work_queue&) = delete;
  ~work_queue() = default;  // with waiters: stops the process with a message

  // Waits for a place. Throws channel_closed after shutdown.
  void put(T item) { put_before(item, sched::never, true); }
  bool try_put(T&& item) { return put_before(item, sched::never, false); }
  bool try_put(const T& item) requires std::copy_constructible<T> { return try_put(T(item)); }
  template <class Rep, class Period>
  bool put_for(T&& item, std::chrono::duration<Rep, Period> d) {
    return put_before(item, sched::deadline_after(d), true);
  }
  template <class Rep, class Period>
  bool put_for(const T& item,
               std::chrono::duration<Rep, Period> d) requires std::copy_constructible<T> {
    return put_for(T(item), d);
  }
  template <class Duration>
  bool put_until(T&& item, std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return put_before(item, sched::deadline_at(t), true);
  }
  template <class Duration>
  bool put_until(const T& item,
                 std::chrono::time_point<std::chrono::steady_clock, Duration> t) requires
      std::copy_constructible<T> {
    return put_until(T(item), t);
  }

  // Waits for an item. Throws channel_closed after shutdown, once the queue is empty; the forms
  // that give none when the time is over do, too.
  T get() {
    gate_.begin_get(sched::never, true);
    taking permit(*this);
    T out(std::move(items_.next()));
    permit.moved = true;
    return out;
  }
  std::optional<T> try_get() { return get_before(sched::never, false); }
  template <class Rep, class Period>
  std::optional<T> get_for(std::chrono::duration<Rep, Period> d) {
    return get_before(sched::deadline_after(d), true);
  }
  template <class Duration>
  std::optional<T> get_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return get_before(sched::deadline_at(t), true);
  }

  // Says that the work of one item is done; once for each item that was got. More often than items
  // were put: stops the process with a message.
  void task_done() noexcept { gate_.task_done(); }
  // Waits until the work of all items that were put is done.
  void join() { gate_.join(sched::never); }
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> d) {
    return gate_.join(sched::deadline_after(d));
  }
  template <class Duration>
  bool join_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return gate_.join(sched::deadline_at(t));
  }

  std::size_t size() const noexcept { return gate_.size(); }

  // Puts throw from now on, those that wait too; gets once the queue is empty. Immediate: what is
  // in it is dropped, and counts as done. Idempotent.
  void shutdown(bool immediate = false) { settle(gate_.shutdown(immediate)); }

 private:
  // A permit to get: ends it, and removes the item if it has been moved out.
  struct taking {
    explicit taking(work_queue& q) : of(q) { of.gate_.lock(); }
    taking(const taking&) = delete;
    taking& operator=(const taking&) = delete;
    ~taking() {
      if (moved) of.items_.remove_next();
      of.gate_.unlock();
      of.settle(of.gate_.end_get(moved));
    }
    work_queue& of;
    bool moved = false;
  };

  bool put_before(T& item, clock::time_point deadline, bool may_wait) {
    using enum sched::work_gate::put_is;
    const auto begun = gate_.begin_put(&item, deadline, may_wait);
    if (begun != permitted) return begun == over;
    try {
      store(item);
    } catch (...) {
      settle(gate_.end_put(false));
      throw;
    }
    settle(gate_.end_put(true));
    return true;
  }

  void store(T& item) {
    std::lock_guard held(gate_);
    items_.put(std::move(item));
  }

  std::optional<T> get_before(clock::time_point deadline, bool may_wait) {
    std::optional<T> out;
    if (gate_.begin_get(deadline, may_wait)) {
      taking permit(*this);
      out.emplace(std::move(items_.next()));
      permit.moved = true;
    }
    return out;
  }

  void settle(sched::work_gate::duty duty) noexcept {
    drop(duty.drop);
    while (sched::waiting_put* const put = duty.serve) {
      try {
        store(*static_cast<T*>(put->item));
      } catch (...) {
        put->error = std::current_exception();
      }
      duty = gate_.put_served(*put);
      drop(duty.drop);
    }
  }

  void drop(std::size_t n) noexcept {
    for (std::size_t left = n; left != 0; --left) {
      std::optional<T> gone;  // destroyed when the lock is free
      std::lock_guard held(gate_);
      try {
        gone.emplace(std::move(items_.next()));
      } catch (...) {  // it is destroyed where it lies
      }
      items_.remove_next();
    }
    if (n != 0) gate_.dropped(n);
  }

  sched::work_gate gate_;
  sched::ordered_items<T, Order> items_;  // under gate_.lock()
};

}  // namespace coir
