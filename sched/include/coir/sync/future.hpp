// A value that somebody will give.
#pragma once
#include <chrono>
#include <functional>
#include <future>
#include <string_view>
#include <type_traits>
#include <utility>

#include <coir/sync/future_state.hpp>

namespace coir {

template <class T>
class promise;
template <class T>
class shared_future;

namespace sched {
template <class T>
struct future_maker;

// What future and shared_future have in common.
template <class T>
class basic_future {
 public:
  bool valid() const noexcept { return handle_.valid(); }
  bool done() const noexcept { return handle_.valid() && (*handle_).done(); }

  // Blocking calls unless it is done: cancellation of the caller strikes there, and the future can
  // be waited for again.
  void wait() const { (*handle_).wait(never); }
  template <class Rep, class Period>
  std::future_status wait_for(std::chrono::duration<Rep, Period> d) const {
    return status((*handle_).wait(deadline_after(d)));
  }
  template <class Duration>
  std::future_status wait_until(
      std::chrono::time_point<std::chrono::steady_clock, Duration> t) const {
    return status((*handle_).wait(deadline_at(t)));
  }

  // Says that nobody wants the value: get() throws coir::cancelled everywhere, as an error of
  // another. At once, if there is a promise, and then promise::cancelled() is true; the fiber of an
  // async() is cancelled, and get() gives what that came to. True if it was not done. Any fiber or
  // thread that has the future.
  bool cancel(std::string_view reason = {}) { return keep()->cancel(reason); }

  // Calls f where the value or error is given, before who waits is woken, in the order in which
  // they came here; here and now if it is done. f must not wait; what it throws goes to
  // options::on_unhandled. remove_on_done: whether it will not be called, and had not been.
  callback_id on_done(std::function<void()> f) { return keep()->on_done(std::move(f)); }
  bool remove_on_done(callback_id id) { return keep()->remove_on_done(id); }

 protected:
  basic_future() noexcept = default;
  explicit basic_future(future_handle<T> h) noexcept : handle_(std::move(h)) {}

  // The state, though a callback or a waiter drops this future.
  state_pointer<future_value<T>> keep() const {
    (*handle_).retain();
    return state_pointer<future_value<T>>(&*handle_);
  }
  static std::future_status status(bool done) noexcept {
    return done ? std::future_status::ready : std::future_status::timeout;
  }

  future_handle<T> handle_;
};

}  // namespace sched

// As std::future, for fibers and threads in any mix, but its destructor never waits. Default-made,
// moved from, or after get(): not valid, and members throw std::future_error(no_state). One user at
// a time.
template <class T>
class future : public sched::basic_future<T> {
 public:
  future() noexcept = default;
  future(future&&) noexcept = default;
  future& operator=(future&&) noexcept = default;

  // Waits; the value, or throws the error: std::future_error(broken_promise) if the promise went
  // without giving one. If this wait is cancelled the future stays valid.
  T get() {
    (*this->handle_).wait(sched::never);
    const sched::future_handle<T> mine = std::move(this->handle_);
    (*mine).throw_error();
    if constexpr (std::is_void_v<T>)
      return;
    else if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*(*mine).value);
    else
      return std::move((*mine).value);
  }

  shared_future<T> share() noexcept { return shared_future<T>(std::move(*this)); }

 private:
  friend struct sched::future_maker<T>;
  friend class shared_future<T>;
  explicit future(sched::future_handle<T> h) noexcept : sched::basic_future<T>(std::move(h)) {}
};

// As std::shared_future: each copy may be used by another fiber or thread.
template <class T>
class shared_future : public sched::basic_future<T> {
 public:
  shared_future() noexcept = default;
  shared_future(const shared_future&) noexcept = default;
  shared_future(shared_future&&) noexcept = default;
  shared_future& operator=(const shared_future&) noexcept = default;
  shared_future& operator=(shared_future&&) noexcept = default;
  shared_future(future<T>&& from) noexcept : sched::basic_future<T>(std::move(from.handle_)) {}

  // Any number of times; waits as future::get does.
  std::conditional_t<std::is_object_v<T>, std::add_lvalue_reference_t<const T>, T> get() const {
    (*this->handle_).wait(sched::never);
    (*this->handle_).rethrow_error();
    if constexpr (std::is_void_v<T>)
      return;
    else if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*(*this->handle_).value);
    else
      return (*this->handle_).value;
  }
};

namespace sched {

template <class T>
struct future_maker {  // of a state whose first future has not been made yet
  static future<T> make(state_pointer<future_value<T>> s) noexcept {
    return future<T>(future_handle<T>(std::move(s)));
  }
};

}  // namespace sched

// A future that is done.
template <class T>
future<T> make_ready_future(T value) {
  sched::state_pointer<sched::future_value<T>> state(new sched::future_value<T>);
  state->try_begin();
  state->make(std::move(value));
  state->settle_with_value();
  return sched::future_maker<T>::make(std::move(state));
}
inline future<void> make_ready_future() {
  sched::state_pointer<sched::future_value<void>> state(new sched::future_value<void>);
  state->try_begin();
  state->make();
  state->settle_with_value();
  return sched::future_maker<void>::make(std::move(state));
}

}  // namespace coir
