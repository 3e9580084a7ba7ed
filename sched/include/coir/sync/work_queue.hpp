// asyncio's queues: work that is put, got and said to be done, in an order of choice.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>
#include <coir/sync/channel_closed.hpp>
#include <coir/sync/mutex.hpp>

namespace coir {

struct fifo {};  // the oldest first
struct lifo {};  // the newest first
template <class Compare>
struct by {};  // the least first; equals in the order in which they were put

namespace sched {

// Somebody who waits to put; whoever has claimed the wait stores the item in its stead.
struct waiting_put : wait_node {
  void* item = nullptr;
  bool refused = false;
  std::exception_ptr error;
};

// Who may put and who may get, without the items. Each permit to put or to get is ended once, with
// whether it was used.
class work_gate {
 public:
  // What the end of a permit brings to its caller.
  struct duty {
    std::size_t drop = 0;          // permits to get items that a shutdown wants dropped
    waiting_put* serve = nullptr;  // a permit to put this one's item; then put_served
  };
  enum class put_is : std::uint8_t { refused, permitted, over };

  explicit work_gate(std::size_t most) noexcept : most_(most) {}
  ~work_gate();  // with waiters: stops the process with a message

  // refused: the time was over, or there is no place now; over: the item has been stored. Throw
  // channel_closed, and what storing the item threw.
  put_is begin_put(void* item, clock::time_point deadline, bool may_wait);
  bool begin_get(clock::time_point deadline, bool may_wait);
  [[nodiscard]] duty end_put(bool stored) noexcept;
  [[nodiscard]] duty end_get(bool taken) noexcept;
  [[nodiscard]] duty put_served(waiting_put&) noexcept;
  [[nodiscard]] duty shutdown(bool immediate) noexcept;
  void dropped(std::size_t) noexcept;

  void task_done() noexcept;
  bool join(clock::time_point deadline);
  std::size_t size() const noexcept;

  // The lock of the items: user code runs under it, so it is one that parks.
  void lock() noexcept { items_mutex_.lock_uncancelled(); }
  void unlock() noexcept { items_mutex_.unlock(); }

 private:
  static wait_node* claim_first_locked(wait_queue&) noexcept;
  void item_there_locked(ready_list&) noexcept;
  waiting_put* place_free_locked() noexcept;
  void wake_drained_locked(ready_list&) noexcept;
  void done_locked(std::size_t, ready_list&) noexcept;

  mutable spin_lock lock_;
  const std::size_t most_;  // 0: no bound
  // All under lock_.
  std::size_t places_ = 0;  // taken: items, and permits to put and to get
  std::size_t items_ = 0;   // that nobody has a permit for
  std::size_t unfinished_ = 0;
  bool closed_ = false, dropping_ = false;
  wait_queue putters_, getters_, joiners_;

  mutex items_mutex_;
};

template <class T, class Order>
class ordered_items;

template <class T>
class ordered_items<T, fifo> {
 public:
  void put(T&& item) { items_.push_back(std::move(item)); }
  T& next() noexcept { return items_.front(); }
  void remove_next() noexcept { items_.pop_front(); }

 private:
  std::deque<T> items_;
};

template <class T>
class ordered_items<T, lifo> {
 public:
  void put(T&& item) { items_.push_back(std::move(item)); }
  T& next() noexcept { return items_.back(); }
  void remove_next() noexcept { items_.pop_back(); }

 private:
  std::deque<T> items_;
};

// A tree, not a heap: a comparison that throws leaves it as it was, and equals keep their order.
template <class T, class Compare>
class ordered_items<T, by<Compare>> {
 public:
  void put(T&& item) { items_.emplace(std::move(item)); }
  T& next() noexcept { return items_.begin()->value; }
  void remove_next() noexcept { items_.erase(items_.begin()); }

 private:
  struct entry {
    explicit entry(T&& v) : value(std::move(v)) {}
    mutable T value;  // moved out of just before it is erased, which compares nothing
  };
  struct less {
    bool operator()(const entry& a, const entry& b) const { return compare(a.value, b.value); }
    [[no_unique_address]] Compare compare;
  };
  std::multiset<entry, less> items_;
};

}  // namespace sched

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
  template <class Rep, class Period>
  bool put_for(T&& item, std::chrono::duration<Rep, Period> d) {
    return put_before(item, sched::deadline_after(d), true);
  }
  template <class Duration>
  bool put_until(T&& item, std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return put_before(item, sched::deadline_at(t), true);
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
