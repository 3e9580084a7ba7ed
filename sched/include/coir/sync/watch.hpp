// The latest value only: who looks late sees the last one, and none in between.
#pragma once
#include <chrono>
#include <concepts>
#include <cstdint>
#include <future>
#include <memory>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>
#include <coir/sync/channel_closed.hpp>

namespace coir {

namespace sched {

// The value is kept as a shared pointer: it is made, copied and destroyed while no lock is held.
class watch_core {
 public:
  using value = std::shared_ptr<const void>;

  explicit watch_core(value first) noexcept : value_(std::move(first)) {}

  void set(value);  // throws channel_closed
  void close() noexcept;
  value get(std::uint64_t& version) const noexcept;
  std::uint64_t version() const noexcept;
  // Waits for another version, and takes it over. False: closed, or the time was over.
  bool changed(std::uint64_t& seen, clock::time_point deadline);
  bool drained(std::uint64_t seen) const noexcept;

 private:
  mutable spin_lock lock_;
  // All under lock_.
  value value_;
  std::uint64_t version_ = 0;
  bool closed_ = false;
  wait_queue waiters_;
};

}  // namespace sched

// For fibers and threads in any mix; nothing but changed() waits. When it is destroyed it is
// closed, and its receivers live on.
template <class T>
class watch {
  static_assert(std::copy_constructible<T>, "each look gives a copy");

 public:
  class receiver;

  explicit watch(T first)
      : core_(std::make_shared<sched::watch_core>(std::make_shared<const T>(std::move(first)))) {}
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;
  ~watch() { close(); }

  T get() const {
    std::uint64_t version;
    const auto now = core_->get(version);
    return *static_cast<const T*>(now.get());
  }
  // Throws channel_closed; if it throws, the value stays.
  void set(T value) { core_->set(std::make_shared<const T>(std::move(value))); }
  void close() noexcept { core_->close(); }         // idempotent
  receiver subscribe() { return receiver(core_); }  // the value of now counts as seen

 private:
  std::shared_ptr<sched::watch_core> core_;
};

// For one user at a time. Moved from, it throws std::future_error.
template <class T>
class watch<T>::receiver {
 public:
  receiver(receiver&&) noexcept = default;
  receiver& operator=(receiver&&) noexcept = default;

  // The latest value, which it has seen then.
  T get() {
    std::uint64_t version;
    const auto now = core().get(version);
    T copy(*static_cast<const T*>(now.get()));
    seen_ = version;
    return copy;
  }
  // Waits for a value that it has not seen, woken by set or by close, and counts it as seen; get()
  // has it. False: closed, and it has seen the last. A blocking call: cancellation strikes there.
  bool changed() { return core().changed(seen_, sched::never); }
  // False also: the time is over; drained() tells.
  template <class Rep, class Period>
  bool changed_for(std::chrono::duration<Rep, Period> d) {
    return core().changed(seen_, sched::deadline_after(d));
  }
  template <class Duration>
  bool changed_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return core().changed(seen_, sched::deadline_at(t));
  }
  bool drained() const { return core().drained(seen_); }  // no other value will come, for ever

 private:
  friend class watch;
  explicit receiver(std::shared_ptr<sched::watch_core> of)
      : core_(std::move(of)), seen_(core_->version()) {}
  sched::watch_core& core() const {
    if (core_ == nullptr) throw std::future_error(std::future_errc::no_state);
    return *core_;
  }

  std::shared_ptr<sched::watch_core> core_;
  std::uint64_t seen_;
};

}  // namespace coir
