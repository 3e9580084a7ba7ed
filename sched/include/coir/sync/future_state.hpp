// What a promise and its futures share.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include <coir/sched/clock.hpp>
#include <coir/sched/task_handle.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir::sched {

// One allocation, kept by whoever refers to it: the producer, each future, and each call that
// settles it, so that nobody's wake can take it away from under the waker.
//
// Always true: it is settled once. Only who has begun to (try_begin) writes the value, and settles
// it; but a producer's fiber may be abandoned in between, and what it then still says comes too
// late.
class future_state {
 public:
  future_state() noexcept = default;
  future_state(const future_state&) = delete;
  future_state& operator=(const future_state&) = delete;

  // --- those who wait
  bool done() const noexcept { return status_.load(std::memory_order_acquire) >= status::value; }
  bool wait(clock::time_point deadline);  // whether it is done; a blocking call if it is not yet
  void rethrow_error() const {            // done; returns if there is a value
    if (status_.load(std::memory_order_relaxed) == status::error) std::rethrow_exception(error_);
  }
  // For the only one who asks: the error goes with it. Nothing of it is left for the producer to
  // free while it is looked at (which ThreadSanitizer cannot see to be in order).
  void throw_error() {
    if (status_.load(std::memory_order_relaxed) == status::error)
      std::rethrow_exception(std::move(error_));
  }
  // Asks the producer to end, or, of a promise, settles it as cancelled. True if it was not done.
  bool cancel(std::string_view reason) noexcept;
  callback_id on_done(std::function<void()>);
  bool remove_on_done(callback_id) noexcept;

  // --- the producer
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }
  bool try_begin(bool for_somebody = false) noexcept;  // false: too late, or nobody is left
  void give_up() noexcept;                             // the value could not be made: as before
  void settle_with_value() noexcept { settle(status::value, nullptr); }
  void settle(std::exception_ptr error) noexcept { settle(status::error, std::move(error)); }

  // --- handles
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  bool retrieve() noexcept { return !std::exchange(retrieved_, true); }  // the first future
  void add_future() noexcept { futures_.fetch_add(1, std::memory_order_relaxed); }
  void drop_future() noexcept { futures_.fetch_sub(1, std::memory_order_release); }

 protected:
  enum class status : std::uint8_t { pending, beginning, value, error };

  virtual ~future_state();
  bool has_value() const noexcept {
    return status_.load(std::memory_order_relaxed) == status::value;
  }
  virtual bool ask_producer(std::string_view) noexcept { return false; }  // true: will settle it
  virtual std::uint64_t producer() const noexcept { return 0; }           // its fiber

 private:
  struct callback {
    std::uint64_t id = 0;
    std::function<void()> function;
    std::unique_ptr<callback> next;
  };

  void settle(status, std::exception_ptr) noexcept;
  static void call(const std::function<void()>&) noexcept;

  std::atomic<std::uint32_t> references_{1};
  std::atomic<std::uint32_t> futures_{1};  // left; the first one counts before it is retrieved
  spin_lock lock_;
  std::atomic<status> status_{status::pending};  // written under lock_
  std::atomic<bool> cancelled_{false};           // settled by cancel(); written under lock_
  bool cancel_again_ = false;                    // wanted while a value was made; under lock_
  bool retrieved_ = false;                       // the promise's
  wait_queue waiters_;                           // under lock_
  std::unique_ptr<callback> callbacks_;          // under lock_, until it is done
  std::uint64_t last_callback_ = 0;              // under lock_
  std::exception_ptr error_;
};

// What a future gets whose producer has gone: std::future_error(broken_promise), or, for want of
// memory for that, std::bad_alloc.
std::exception_ptr promise_broken() noexcept;

// With room for a T, which may be void or a reference.
template <class T>
class future_value : public future_state {
 public:
  using stored = std::conditional_t<
      std::is_void_v<T>, std::monostate,
      std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>, std::remove_cv_t<T>>>;

  future_value() noexcept {}

  template <class... A>
  void make(A&&... arguments) {  // after try_begin
    new (&value) stored(std::forward<A>(arguments)...);
  }
  template <class F>
  void make_from(F&& f) {
    if constexpr (std::is_void_v<T>) {
      std::forward<F>(f)();
      make();
    } else if constexpr (std::is_reference_v<T>) {
      T&& result = std::forward<F>(f)();
      make(std::addressof(result));
    } else {
      new (&value) stored(std::forward<F>(f)());
    }
  }

  union {
    stored value;  // alive once settled with a value
  };

 protected:
  ~future_value() override {
    if (has_value()) std::destroy_at(&value);
  }
};

// Owns a reference to a state.
template <class State>
class state_pointer {
 public:
  state_pointer() noexcept = default;
  explicit state_pointer(State* adopted) noexcept : state_(adopted) {}
  state_pointer(const state_pointer& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) state_->retain();
  }
  state_pointer(state_pointer&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  state_pointer& operator=(state_pointer other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~state_pointer() {
    if (state_ != nullptr) state_->release();
  }
  State* get() const noexcept { return state_; }
  State* operator->() const noexcept { return state_; }
  State& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  State* state_ = nullptr;
};

// A reference that counts as a future.
template <class T>
class future_handle {
 public:
  future_handle() noexcept = default;
  explicit future_handle(state_pointer<future_value<T>> first) noexcept
      : state_(std::move(first)) {}
  future_handle(const future_handle& other) noexcept : state_(other.state_) {
    if (state_) state_->add_future();
  }
  future_handle(future_handle&&) noexcept = default;
  future_handle& operator=(future_handle other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~future_handle() {
    if (state_) state_->drop_future();
  }
  bool valid() const noexcept { return static_cast<bool>(state_); }
  future_value<T>& operator*() const {
    if (!state_) throw std::future_error(std::future_errc::no_state);
    return *state_;
  }

 private:
  state_pointer<future_value<T>> state_;
};

}  // namespace coir::sched
