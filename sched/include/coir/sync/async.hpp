// A fiber whose result is a future.
#pragma once
#include <atomic>
#include <concepts>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/task.hpp>
#include <coir/sync/future.hpp>

namespace coir {

namespace sched {

// Of a fiber that will not run: the error that it ends with.
std::exception_ptr why_dropped() noexcept;

template <class T>
class async_end;

template <class T>
class async_state final : public future_value<T> {
 public:
  fiber_record* fiber = nullptr;  // a reference; set before there is a future
  async_end<T>* end = nullptr;    // of the fiber, as long as its function runs

 private:
  ~async_state() override {
    if (fiber != nullptr) sched::release(*fiber);
  }
  bool ask_producer(std::string_view reason) noexcept override {
    return fiber != nullptr && sched::cancel(*fiber, reason);
  }
  std::uint64_t producer() const noexcept override {
    return fiber != nullptr ? fiber->id().value() : 0;
  }
};

// The fiber's, besides: tells the future if the runtime has ended without it. Its reference goes
// before the future is settled, so that who waits for that is the last to have one.
template <class T>
class async_end {
 public:
  explicit async_end(async_state<T>& of) noexcept : of_(&of) { of.retain(); }
  async_end(async_end&& other) noexcept : of_(other.take()) {}
  ~async_end() { drop(); }
  void enter(fiber_record&) noexcept { of_.load(std::memory_order_relaxed)->end = this; }
  void ended() noexcept { drop(); }
  void abandoned() noexcept {
    async_state<T>* const s = take();
    if (s == nullptr) return;  // it settles it now
    s->settle(promise_broken());
    s->release();
  }
  void drop() noexcept {
    if (async_state<T>* const s = take()) s->release();
  }

 private:
  async_state<T>* take() noexcept { return of_.exchange(nullptr, std::memory_order_acq_rel); }
  std::atomic<async_state<T>*> of_;
};

// What the fiber runs: settles the state when its function and its arguments are gone, or when it
// goes without having run.
template <class T, class B>
class async_body {
 public:
  template <class... P>
  explicit async_body(const state_pointer<async_state<T>>& s, P&&... parts)
      : state_(s), function_(std::in_place, std::forward<P>(parts)...) {}
  async_body(async_body&&) = default;
  ~async_body() {
    if (!state_ || !state_->try_begin()) return;
    function_.reset();
    if (state_->end != nullptr) state_->end->drop();
    state_->settle(why_dropped());
  }

  void operator()() noexcept {
    const state_pointer<async_state<T>> state = std::move(state_);
    state->try_begin();
    std::exception_ptr error;
    try {
      state->make_from([this]() -> T { return (*function_)(); });
    } catch (...) {
      error = std::current_exception();
    }
    function_.reset();
    end_fiber_locals();
    state->end->drop();
    if (error != nullptr)
      state->settle(std::move(error));
    else
      state->settle_with_value();
  }

 private:
  state_pointer<async_state<T>> state_;
  std::optional<B> function_;
};

}  // namespace sched

// Starts f(arguments...) as a detached fiber of the runtime that runs the caller; arguments as
// std::thread's. Its future gets the result once they are gone. future::cancel cancels the fiber;
// the future is done when that has ended, with coir::cancelled if that is how it ended. An error
// that nobody reads is dropped, as with std. Throws as spawn does.
template <class F, class... A>
requires std::invocable<std::decay_t<F>, std::decay_t<A>...>
auto async(F&& f, A&&... arguments) {
  using result = std::invoke_result_t<std::decay_t<F>, std::decay_t<A>...>;
  using body = sched::async_body<result, sched::bound<std::decay_t<F>, std::decay_t<A>...>>;
  sched::core_of_this_fiber("async");  // or throws
  sched::state_pointer<sched::async_state<result>> state(new sched::async_state<result>);
  state->fiber =
      &sched::spawn_member(sched::usual{}, sched::async_end<result>(*state),
                           body(state, std::forward<F>(f), std::forward<A>(arguments)...));
  state->retain();
  return sched::future_maker<result>::make(
      sched::state_pointer<sched::future_value<result>>(state.get()));
}

}  // namespace coir
