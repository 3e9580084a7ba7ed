// How a task ended, as a value.
#pragma once
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>
#include <variant>

#include <coir/sched/task_handle.hpp>

namespace coir {

namespace sched {

// What stands for a T in a tuple, a variant or a vector, of which none holds a const result.
template <class T>
using as_element = std::conditional_t<
    std::is_void_v<T>, std::monostate,
    std::conditional_t<std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>,
                       std::remove_cv_t<T>>>;

template <class T>
as_element<T> element_of(fiber_record& f) {
  if constexpr (std::is_void_v<T>) {
    get_of<T>(f);
    return {};
  } else {
    return as_element<T>(get_of<T>(f));
  }
}

}  // namespace sched

// A value, or what was thrown instead: asyncio.gather(return_exceptions=True).
template <class T>
class result {
 public:
  using value_type = sched::as_element<T>;

  template <class... V>
  explicit result(std::in_place_t, V&&... v)
      : either_(std::in_place_index<0>, std::forward<V>(v)...) {}
  result(std::exception_ptr error, bool cancelled)
      : either_(std::in_place_index<1>, std::move(error)), cancelled_(cancelled) {}

  bool has_value() const noexcept { return either_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  value_type& value() & {  // rethrows the error
    rethrow();
    return *std::get_if<0>(&either_);
  }
  const value_type& value() const& {
    rethrow();
    return *std::get_if<0>(&either_);
  }
  value_type&& value() && {
    rethrow();
    return std::move(*std::get_if<0>(&either_));
  }
  std::exception_ptr error() const noexcept {  // null: there is a value
    return has_value() ? nullptr : *std::get_if<1>(&either_);
  }
  bool cancelled() const noexcept { return cancelled_; }  // ended by its own cancellation

 private:
  void rethrow() const {
    if (!has_value()) std::rethrow_exception(*std::get_if<1>(&either_));
  }

  std::variant<value_type, std::exception_ptr> either_;
  bool cancelled_ = false;
};

namespace sched {

template <class T>
result<T> result_of(fiber_record& f) {
  const task_ending how = f.ending.load(std::memory_order_relaxed);
  if (how == task_ending::value) return result<T>(std::in_place, element_of<T>(f));
  return result<T>(error_of(f), how == task_ending::cancelled);
}

}  // namespace sched
}  // namespace coir
