// What a body calls to yield, and the frame of a coroutine with its body in it.
#pragma once
#include <concepts>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <type_traits>
#include <utility>

#include <coir/coroutine/coroutine_frame.hpp>

namespace coir {

template <class Signature>
class coroutine;
template <class T>
class generator;

namespace sched {

template <class Y, class R, class F>
struct coroutine_body;

struct no_value {};  // stands for void where an object is needed
template <class T>
using object_or_none = std::conditional_t<std::is_void_v<T>, no_value, T>;

}  // namespace sched

// Belongs to one coroutine; passed to its body by reference, and by the body to whatever it calls:
// at any depth, in recursion, inside a catch block. Y is what it yields, R what it is resumed with.
//
// A yield suspends the body until it is resumed again, by any fiber or thread. Throws
// coroutine_closed when the coroutine is closed (also from every yield after that, so a destructor
// in the body must not yield unless it catches that), and std::logic_error outside of the
// coroutine's own body. Stops the process if a timeout, shield, group or guard that the body has
// opened is alive: it would close under another fiber.
template <class Y, class R>
class coroutine_yield : private sched::coroutine_frame {
  using given = sched::object_or_none<Y>;

 public:
  coroutine_yield(const coroutine_yield&) = delete;
  coroutine_yield& operator=(const coroutine_yield&) = delete;

  R operator()() requires std::is_void_v<Y> { return go(); }
  R operator()(given&& value) requires(!std::is_void_v<Y>) {
    out = const_cast<void*>(static_cast<const volatile void*>(std::addressof(value)));
    return go();
  }
  R operator()(const given& value) requires(std::is_object_v<Y>&& std::copy_constructible<given>) {
    return operator()(given(value));
  }

  // Each element of a range, another generator for one.
  template <std::ranges::input_range Range>
  void from(Range&& range) requires(std::is_void_v<R>&& std::is_invocable_v<
                                    coroutine_yield&, std::ranges::range_reference_t<Range>>) {
    for (auto&& value : range) operator()(std::forward<decltype(value)>(value));
  }

 private:
  template <class, class, class>
  friend struct sched::coroutine_body;
  template <class>
  friend class coroutine;
  template <class>
  friend class generator;

  coroutine_yield() = default;
  ~coroutine_yield() = default;

  R go() {
    sched::suspend(*this);
    if (closing) [[unlikely]]
      sched::throw_closed();
    if constexpr (!std::is_void_v<R>) return std::move(*static_cast<R*>(in));
  }
};

namespace sched {

// A coroutine whole: frame, body, and the last value that the body returned.
template <class Y, class R, class F>
struct coroutine_body final : coroutine_yield<Y, R> {
  using yield_type = coroutine_yield<Y, R>;

  static auto call(F& body, yield_type& yield, object_or_none<R>& first) -> decltype(auto) {
    if constexpr (std::is_void_v<R>)
      return std::invoke(body, yield);
    else
      return std::invoke(body, yield, std::move(first));
  }
  using returned = decltype(call(std::declval<F&>(), std::declval<yield_type&>(),
                                 std::declval<object_or_none<R>&>()));
  static constexpr bool has_last = !std::is_void_v<returned> && !std::is_void_v<Y>;

  union {
    F body;
  };
  std::optional<std::conditional_t<has_last, object_or_none<Y>, no_value>> last;

  template <class G>
  explicit coroutine_body(G&& function) : body(std::forward<G>(function)) {}
  ~coroutine_body() {}

  static coroutine_body& of(coroutine_frame& f) noexcept {
    return static_cast<coroutine_body&>(static_cast<yield_type&>(f));
  }

  static void run(coroutine_frame& f) {
    coroutine_body& self = of(f);
    struct at_end {
      F& body;
      ~at_end() { body.~F(); }
    } destroy_body{self.body};
    if constexpr (std::is_void_v<R>) {
      no_value none;
      self.call_and_keep(none);
    } else {
      R first(std::move(*static_cast<R*>(f.in)));  // the resumer's goes when the body first yields
      self.call_and_keep(first);
    }
  }
  void call_and_keep(object_or_none<R>& first) {
    if constexpr (has_last) {
      last.emplace(call(body, *this, first));
      this->out = std::addressof(*last);
    } else {
      static_cast<void>(call(body, *this, first));
      this->out = nullptr;
    }
  }

  static void drop(coroutine_frame& f) noexcept { of(f).body.~F(); }
  static void destroy(coroutine_frame& f) noexcept { of(f).~coroutine_body(); }
  static constexpr coroutine_functions kind{&run, &drop, &destroy};

  template <class G>
  static yield_type* make(G&& function, std::size_t stack_size) {
    const coroutine_place place =
        take_coroutine_place(stack_size, sizeof(coroutine_body), alignof(coroutine_body));
    coroutine_body* made = nullptr;
    try {
      made = new (place.at) coroutine_body(std::forward<G>(function));
    } catch (...) {
      give_back(place);
      throw;
    }
    made->functions = &kind;
    prepare(*made, place);
    return made;
  }
};

}  // namespace sched

}  // namespace coir
