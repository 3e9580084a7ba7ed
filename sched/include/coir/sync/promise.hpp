// Who gives the value of a future.
#pragma once
#include <exception>
#include <future>
#include <memory>
#include <type_traits>
#include <utility>

#include <coir/sync/future.hpp>

namespace coir {

namespace sched {

template <class T>
class basic_promise {
 public:
  basic_promise() : state_(new future_value<T>) {}
  basic_promise(basic_promise&&) noexcept = default;
  basic_promise& operator=(basic_promise&& other) noexcept {
    if (this == &other) return *this;
    break_promise();
    state_ = std::move(other.state_);
    return *this;
  }
  ~basic_promise() { break_promise(); }

  // Once; then std::future_error(future_already_retrieved).
  future<T> get_future() {
    if (!state().retrieve()) throw std::future_error(std::future_errc::future_already_retrieved);
    return future_maker<T>::make(state_);
  }

  // Throws std::future_error(promise_already_satisfied) if it has been set or cancelled.
  void set_exception(std::exception_ptr error) {
    const pointer s = begin();
    s->settle(std::move(error));
  }
  bool try_set_exception(std::exception_ptr error) {
    const pointer s = keep();
    if (!s->try_begin(true)) return false;
    s->settle(std::move(error));
    return true;
  }

  // A future has said that nobody wants the value. Any thread.
  bool cancelled() const { return state().cancelled(); }

 protected:
  void exchange(basic_promise& other) noexcept { std::swap(state_, other.state_); }

  using pointer = state_pointer<future_value<T>>;

  future_value<T>& state() const {
    if (!state_) throw std::future_error(std::future_errc::no_state);
    return *state_;
  }
  // Who waits may destroy the promise while it still sets the value.
  pointer keep() const { return static_cast<void>(state()), state_; }
  pointer begin() {
    pointer s = keep();
    if (!s->try_begin()) throw std::future_error(std::future_errc::promise_already_satisfied);
    return s;
  }
  template <class... A>
  static void finish(future_value<T>& s, A&&... arguments) {
    try {
      s.make(std::forward<A>(arguments)...);
    } catch (...) {
      s.give_up();
      throw;
    }
    s.settle_with_value();
  }
  template <class... A>
  void set(A&&... arguments) {
    const pointer s = begin();
    finish(*s, std::forward<A>(arguments)...);
  }
  template <class... A>
  bool try_set(A&&... arguments) {
    const pointer s = keep();
    if (!s->try_begin(true)) return false;
    finish(*s, std::forward<A>(arguments)...);
    return true;
  }

 private:
  void break_promise() noexcept {
    if (state_ && state_->try_begin()) state_->settle(promise_broken());
  }

  pointer state_;
};

}  // namespace sched

// As std::promise; fibers and threads in any mix. Setting wakes who waits and calls what was left
// with on_done, and is no blocking call. try_set_value: false, and its argument untouched, if it
// has been set or cancelled, or no future is left. A promise that goes unset gives
// std::future_error(broken_promise). Moved from, it has no state.
template <class T>
class promise : public sched::basic_promise<T> {
 public:
  void set_value(const T& v) { this->set(v); }
  void set_value(T&& v) { this->set(std::move(v)); }
  bool try_set_value(const T& v) { return this->try_set(v); }
  bool try_set_value(T&& v) { return this->try_set(std::move(v)); }
  void swap(promise& other) noexcept { this->exchange(other); }
};

// Of a reference.
template <class T>
class promise<T&> : public sched::basic_promise<T&> {
 public:
  void set_value(T& v) { this->set(std::addressof(v)); }
  bool try_set_value(T& v) { return this->try_set(std::addressof(v)); }
  void swap(promise& other) noexcept { this->exchange(other); }
};

// Of no value.
template <>
class promise<void> : public sched::basic_promise<void> {
 public:
  void set_value() { set(); }
  bool try_set_value() { return try_set(); }
  void swap(promise& other) noexcept { exchange(other); }
};

template <class T>
void swap(promise<T>& a, promise<T>& b) noexcept {
  a.swap(b);
}

}  // namespace coir
