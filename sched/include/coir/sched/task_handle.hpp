// What the handles of a fiber have in common, whatever its result is.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/task_payload.hpp>

namespace coir {

// Names a function that on_done() was given. Default-constructed: none.
class callback_id {
 public:
  constexpr callback_id() = default;
  constexpr explicit callback_id(std::uint64_t value) : value_(value) {}
  friend constexpr bool operator==(callback_id, callback_id) = default;
  constexpr std::uint64_t value() const noexcept { return value_; }

 private:
  std::uint64_t value_ = 0;
};

namespace sched {

// What a handle does with its record; any thread.
bool join(fiber_record&, clock::time_point deadline, bool cancellable = true);
bool cancel(fiber_record&, std::string_view reason) noexcept;
std::string name_of_task(const fiber_record&);
[[noreturn]] void rethrow(fiber_record&);  // how it ended, which was not with a value
std::exception_ptr error_of(fiber_record&);
void cancel_and_join(fiber_record&) noexcept;
callback_id add_end_callback(fiber_record&, std::function<void()>);
bool remove_end_callback(fiber_record&, callback_id) noexcept;

template <class T>
T get_of(fiber_record& f) {
  if (!f.done() || f.extras.load(std::memory_order_acquire) != nullptr) join(f, never);
  auto& payload = payload_of<T>(f);
  if (!payload.take_turn(f)) throw std::future_error(std::future_errc::future_already_retrieved);
  if (f.ending.load(std::memory_order_relaxed) != task_ending::value) rethrow(f);
  return payload.take();
}

class task_handle {
 public:
  bool valid() const noexcept { return record_ != nullptr; }

  // Waits; null: it has a value. Any number of times, also after get().
  std::exception_ptr error() const {
    join(record(), never);
    return error_of(record());
  }
  void wait() const { join(record(), never); }
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) const {  // whether it has ended
    return join(record(), deadline_after(d));
  }
  template <class Duration>
  bool wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) const {
    return join(record(), deadline_at(t));
  }

  bool done() const noexcept { return record_ != nullptr && record_->done(); }
  // Asks the fiber to end: coir::cancelled is thrown at the blocking call that it is in, or at its
  // next. True if it had not ended. Idempotent, the first reason stays.
  bool cancel(std::string_view reason = {}) noexcept {
    return record_ != nullptr && sched::cancel(*record_, reason);
  }
  bool cancelled() const noexcept {  // has ended, by its cancellation
    return done() && record_->ending.load(std::memory_order_relaxed) == task_ending::cancelled;
  }
  task_state state() const noexcept {
    return record_ == nullptr || record_->done() ? task_state::done
                                                 : record_->state.load(std::memory_order_acquire);
  }
  fiber_id id() const noexcept { return record_ == nullptr ? fiber_id{} : record_->id(); }
  std::string name() const { return name_of_task(record()); }

  // Calls f when the fiber has ended, before any join returns, where it ends and in the order of
  // the calls; at once and here if it has ended. f must not wait, and finds the fiber done; what it
  // throws goes to options::on_unhandled.
  callback_id on_done(std::function<void()> f) { return add_end_callback(record(), std::move(f)); }
  bool remove_on_done(callback_id id) {  // whether it will not be called, and had not been
    return remove_end_callback(record(), id);
  }

  fiber_record* peek() const noexcept { return record_; }  // for the library; null: none

 protected:
  task_handle() noexcept = default;
  explicit task_handle(fiber_record& adopted) noexcept : record_(&adopted) {}
  task_handle(const task_handle& other) noexcept : record_(other.record_) {
    if (record_ != nullptr) retain(*record_);
  }
  task_handle(task_handle&& other) noexcept : record_(std::exchange(other.record_, nullptr)) {}
  task_handle& operator=(const task_handle&) = delete;
  ~task_handle() = default;

  fiber_record& record() const {
    if (record_ == nullptr) throw std::future_error(std::future_errc::no_state);
    return *record_;
  }
  void take(task_handle& other) noexcept { record_ = std::exchange(other.record_, nullptr); }
  void swap(task_handle& other) noexcept { std::swap(record_, other.record_); }
  void cancel_and_join() noexcept {
    if (record_ == nullptr) return;
    if (!record_->done() || record_->extras.load(std::memory_order_acquire) != nullptr)
      sched::cancel_and_join(*record_);
    release(*record_);
  }
  void let_go() {
    release(record());
    record_ = nullptr;
  }

 private:
  fiber_record* record_ = nullptr;
};

}  // namespace sched
}  // namespace coir
