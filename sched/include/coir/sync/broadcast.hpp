// Every receiver gets every item; who is too slow misses the oldest, and learns how many.
#pragma once
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>
#include <coir/sync/channel_closed.hpp>

namespace coir {

// Thrown once by a receiver that was overtaken; it goes on at the oldest item that is kept.
class lagged : public std::runtime_error {
 public:
  explicit lagged(std::uint64_t missed)
      : std::runtime_error("coir: a receiver was overtaken"), missed_(missed) {}
  std::uint64_t missed() const noexcept { return missed_; }  // items

 private:
  std::uint64_t missed_;
};

namespace sched {

// The items are kept as shared pointers: they are made, copied and destroyed while no lock is held.
class broadcast_core {
 public:
  using item = std::shared_ptr<const void>;

  explicit broadcast_core(std::size_t capacity);

  bool wanted() const;  // whether there is a receiver; throws channel_closed
  bool push(item);      // the same; and if so, it is kept
  void close() noexcept;

  std::uint64_t subscribe() noexcept;  // the position behind all items
  void unsubscribe() noexcept;
  // The item at that position, waiting for it; null: closed, or the time was over. Throws lagged,
  // and then the position is the oldest.
  item at(std::uint64_t& position, clock::time_point deadline, bool may_wait);
  bool drained(std::uint64_t position) const noexcept;

 private:
  mutable spin_lock lock_;
  // All under lock_. The item of position p is kept at p % size until size more have been pushed.
  std::vector<item> kept_;
  std::uint64_t pushed_ = 0;
  std::size_t receivers_ = 0;
  bool closed_ = false;
  wait_queue waiters_;
};

}  // namespace sched

// For fibers and threads in any mix. Keeps the last `capacity` items for receivers that have yet to
// come to them; a push never waits. When it is destroyed it is closed, and its receivers live on.
template <class T>
class broadcast {
  static_assert(std::copy_constructible<T>, "each receiver gets a copy");

 public:
  class receiver;

  // Throws std::invalid_argument for a capacity of 0, and what std::vector does for too many.
  explicit broadcast(std::size_t capacity)
      : core_(std::make_shared<sched::broadcast_core>(capacity)) {}
  broadcast(const broadcast&) = delete;
  broadcast& operator=(const broadcast&) = delete;
  ~broadcast() { close(); }

  // False: there is no receiver, and the item is dropped. Throws channel_closed; if it throws,
  // nobody gets the item. Never waits.
  bool push(T item) {
    return core_->wanted() && core_->push(std::make_shared<const T>(std::move(item)));
  }
  void close() noexcept { core_->close(); }         // idempotent; what is kept can still be popped
  receiver subscribe() { return receiver(core_); }  // to what is pushed from now on

 private:
  std::shared_ptr<sched::broadcast_core> core_;
};

// Gets the items in their order; for one user at a time. Its waits are blocking calls: cancellation
// strikes there, and then no item was taken. Moved from, it throws std::future_error. pop:
//  - waits for an item that it has not had yet, woken by a push or by close;
//  - none: closed, and it has had them all (or the time is over: drained() tells);
//  - throws lagged once if it was overtaken. What the item's copy throws leaves it where it was.
template <class T>
class broadcast<T>::receiver {
 public:
  receiver(receiver&& from) noexcept = default;
  receiver& operator=(receiver&& from) noexcept {
    receiver(std::move(from)).swap(*this);
    return *this;
  }
  ~receiver() {
    if (core_ != nullptr) core_->unsubscribe();
  }

  std::optional<T> pop() { return next(sched::never, true); }
  std::optional<T> try_pop() { return next(sched::never, false); }
  template <class Rep, class Period>
  std::optional<T> pop_for(std::chrono::duration<Rep, Period> d) {
    return next(sched::deadline_after(d), true);
  }
  template <class Duration>
  std::optional<T> pop_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return next(sched::deadline_at(t), true);
  }
  bool drained() const { return core().drained(position_); }  // no item will come, for ever

 private:
  friend class broadcast;
  explicit receiver(std::shared_ptr<sched::broadcast_core> of)
      : core_(std::move(of)), position_(core_->subscribe()) {}
  void swap(receiver& with) noexcept {
    core_.swap(with.core_);
    std::swap(position_, with.position_);
  }
  sched::broadcast_core& core() const {
    if (core_ == nullptr) throw std::future_error(std::future_errc::no_state);
    return *core_;
  }
  std::optional<T> next(clock::time_point deadline, bool may_wait) {
    std::optional<T> out;
    if (const auto item = core().at(position_, deadline, may_wait)) {
      out.emplace(*static_cast<const T*>(item.get()));
      ++position_;
    }
    return out;
  }

  std::shared_ptr<sched::broadcast_core> core_;
  std::uint64_t position_;
};

}  // namespace coir
