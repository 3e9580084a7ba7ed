// A coroutine as Lua has them: a body with a stack of its own, which runs inside whoever resumes
// it.
//
//   auto co = coir::coroutine<int(std::string)>([](auto& yield, std::string s) {
//     while (!s.empty()) s = yield(static_cast<int>(s.size()));
//   });
//   co.resume("three");  // 5
//
// The body runs in the fiber or on the thread that resumes it, and needs no runtime. A blocking
// call in it parks that fiber, whose id, locals, context and locks the body uses. The exceptions in
// flight are the coroutine's own. Different fibers and threads may resume it, one at a time.
#pragma once
#include <optional>
#include <type_traits>
#include <utility>

#include <coir/coroutine/coroutine_yield.hpp>

namespace coir {

// Signature is Y(R): resume takes an R and gives the Y that the body yields; both are objects or
// void. Move-only; default-constructed and moved-from ones are dead. One user at a time.
template <class Y, class... A>
class coroutine<Y(A...)> {
  static_assert(sizeof...(A) <= 1, "coroutine<Y(R)>: what resume takes is one value");
  template <class... T>
  struct only {
    using type = void;
  };
  template <class T>
  struct only<T> {
    using type = T;
  };
  using R = typename only<A...>::type;
  static_assert((std::is_void_v<Y> || std::is_object_v<Y>)&&(std::is_void_v<R> ||
                                                             std::is_object_v<R>),
                "coroutine<Y(R)>: Y and R are objects or void");

 public:
  using yield_type = coroutine_yield<Y, R>;  // for functions that take yield
  using result_type =
      std::conditional_t<std::is_void_v<Y>, bool, std::optional<sched::object_or_none<Y>>>;

  coroutine() noexcept = default;

  // The body is called as body(yield, R), or body(yield) if R is void, at the first resume. What it
  // returns, if that converts to Y, is the last value. Bytes of stack: see
  // default_coroutine_stack. Throws std::system_error if there is no stack to be had, and what
  // copying the body throws.
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, coroutine>) explicit coroutine(
      F&& body, std::size_t stack_size = default_coroutine_stack)
      : frame_(sched::coroutine_body<Y, R, std::decay_t<F>>::make(std::forward<F>(body),
                                                                  stack_size)) {}

  coroutine(coroutine&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  coroutine& operator=(coroutine&& other) noexcept {
    coroutine(std::move(other)).swap(*this);
    return *this;
  }
  // Closes it and drops errors; shielded. Of a running or normal one: stops the process.
  ~coroutine() {
    if (frame_ != nullptr) sched::destroy(*frame_);
  }
  void swap(coroutine& other) noexcept { std::swap(frame_, other.frame_); }

  // Runs the body until it yields or returns. What it yields, or returns as a Y; nullopt (Y void:
  // false) if it has returned without. Rethrows what leaves it. Throws dead_coroutine, and
  // std::logic_error if it is running or normal, std::runtime_error if more than 16,384 coroutines
  // would have resumed each other.
  result_type resume(A... value) {
    if (frame_ == nullptr) [[unlikely]]
      throw dead_coroutine("coir: a coroutine was resumed that is empty");
    yield_type& frame = *frame_;  // this object may be moved meanwhile
    if constexpr (!std::is_void_v<R>) (static_cast<void>(frame.in = std::addressof(value)), ...);
    sched::resume(frame);
    if (frame.status == coroutine_status::dead) [[unlikely]]
      return last(frame);
    if constexpr (std::is_void_v<Y>)
      return true;
    else
      return result_type(std::move(*static_cast<Y*>(frame.out)));
  }

  coroutine_status status() const noexcept {
    return frame_ == nullptr ? coroutine_status::dead : frame_->status;
  }

  // Unwinds the body where it stands: its yield throws coroutine_closed, and so does every later
  // one. Another error that leaves it is rethrown. Dead: nothing. Running or normal:
  // std::logic_error.
  void close() {
    if (frame_ != nullptr) sched::close(*frame_);
  }

 private:
  static result_type last(yield_type& frame) {
    sched::rethrow_error(frame);
    if constexpr (!std::is_void_v<Y>) {
      if (frame.out != nullptr) return result_type(std::move(*static_cast<Y*>(frame.out)));
    }
    return result_type{};
  }

  yield_type* frame_ = nullptr;
};

}  // namespace coir
