// What lies behind a task's record: its function until it has run, then its result.
#pragma once
#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include <coir/sched/cancelled.hpp>
#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

bool is_own(const cancelled&, const fiber_record&) noexcept;  // thrown for that fiber

// A function with its arguments, decayed, invoked once, as rvalues.
template <class F, class... A>
struct bound {
  template <class G, class... B>
  explicit bound(G&& f, B&&... b)
      : function(std::forward<G>(f)), arguments(std::forward<B>(b)...) {}
  decltype(auto) operator()() {
    return std::apply(
        [this](A&... a) -> decltype(auto) {
          return std::invoke(std::move(function), std::move(a)...);
        },
        arguments);
  }
  F function;
  std::tuple<A...> arguments;
};

// Functions too large for a record live on the heap.
template <class B>
struct boxed {
  template <class... P>
  explicit boxed(P&&... parts) : inner(std::make_unique<B>(std::forward<P>(parts)...)) {}
  decltype(auto) operator()() { return (*inner)(); }
  std::unique_ptr<B> inner;
};

// The first member of every payload is the error: those who do not know T find it there.
inline constexpr std::size_t inline_result = 256;

// A result that is large, or aligned as no record is, lives on the heap.
template <class T>
struct boxed_result {
  template <class Make>
  explicit boxed_result(Make&& make) : inner(new T(make())) {}
  std::unique_ptr<T> inner;
};

template <class T>
inline constexpr bool result_is_boxed = [] {
  if constexpr (std::is_void_v<T> || std::is_reference_v<T>)
    return false;
  else
    return sizeof(T) > inline_result || alignof(T) > payload_alignment;
}();

template <class T>
struct task_payload {
  using object = std::remove_cv_t<T>;  // a const result is made from it, by moving
  using stored =
      std::conditional_t<std::is_void_v<T>, std::monostate,
                         std::conditional_t<std::is_reference_v<T>, std::add_pointer_t<T>,
                                            std::conditional_t<result_is_boxed<object>,
                                                               boxed_result<object>, object>>>;
  std::exception_ptr error;
  bool taken = false;
  union {
    stored value;  // alive if ending is value
  };
  task_payload() noexcept {}
  ~task_payload() {}

  // Once over all handles, which may be used by others at the same time.
  bool take_turn(const fiber_record& f) noexcept {
    if (f.references.only_one()) return !std::exchange(taken, true);
    return !std::atomic_ref<bool>(taken).exchange(true, std::memory_order_relaxed);
  }
  T take() {
    if constexpr (std::is_void_v<T>)
      return;
    else if constexpr (std::is_reference_v<T>)
      return static_cast<T>(*value);
    else if constexpr (result_is_boxed<T>)
      return std::move(*value.inner);
    else
      return std::move(value);
  }
};

template <class T>
task_payload<T>& payload_of(fiber_record& f) noexcept {
  return *std::launder(reinterpret_cast<task_payload<T>*>(f.payload()));
}

inline constexpr std::size_t inline_payload = 480;

// What a task that is nobody's child has more than others: nothing. What others have may tell
// somebody that the fiber has ended(), or that it was abandoned().
struct no_group {
  void enter(fiber_record&) noexcept {}
};

template <class T, class B, class Member = no_group>
struct task_kind {
  using function =
      std::conditional_t<sizeof(B) <= inline_payload && alignof(B) <= payload_alignment, B,
                         boxed<B>>;
  struct payload : task_payload<T> {
    template <class... P>
    explicit payload(Member&& m, P&&... parts)
        : member(std::move(m)), run(std::forward<P>(parts)...) {
      member.enter(
          *reinterpret_cast<fiber_record*>(reinterpret_cast<std::byte*>(this) - payload_offset));
    }
    ~payload() {}
    [[no_unique_address]] Member member;
    union {
      function run;  // alive until it has run or was dropped
    };
  };

  using stored = typename task_payload<T>::stored;

  static payload& of(fiber_record& f) noexcept {
    return *std::launder(reinterpret_cast<payload*>(f.payload()));
  }

  static void run(fiber_record& f) noexcept {
    payload& p = of(f);
    task_ending how = task_ending::value;
    try {
      if constexpr (std::is_void_v<T>)
        p.run(), new (&p.value) std::monostate;
      else if constexpr (std::is_reference_v<T>) {
        T&& result = p.run();
        new (&p.value) std::add_pointer_t<T>(std::addressof(result));
      } else if constexpr (result_is_boxed<T>) {
        new (&p.value) stored([&p]() -> T { return p.run(); });
      } else
        new (&p.value) stored(p.run());
    } catch (const cancelled& c) {
      how = is_own(c, f) ? task_ending::cancelled : task_ending::error;
      p.error = std::current_exception();
    } catch (...) {
      how = task_ending::error;
      p.error = std::current_exception();
    }
    drop(f);
    f.how = how;
  }

  static void drop(fiber_record& f) noexcept { of(f).run.~function(); }

  static void destroy(fiber_record& f) noexcept {
    payload& p = of(f);
    if (f.how == task_ending::value) std::destroy_at(&p.value);
    std::destroy_at(&p.member);
    std::destroy_at(&p.error);
  }

  static constexpr auto ended_or_null() noexcept -> void (*)(fiber_record&) noexcept {
    if constexpr (requires(Member & m) { m.ended(); })
      return [](fiber_record& f) noexcept { of(f).member.ended(); };
    else
      return nullptr;
  }
  static constexpr auto abandoned_or_null() noexcept -> void (*)(fiber_record&) noexcept {
    if constexpr (requires(Member & m) { m.abandoned(); })
      return [](fiber_record& f) noexcept { of(f).member.abandoned(); };
    else
      return nullptr;
  }
  static constexpr task_functions functions{&run, &drop, &destroy, ended_or_null(),
                                            abandoned_or_null()};
};

}  // namespace coir::sched
