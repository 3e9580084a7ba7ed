// A generator: a coroutine that is a range of what it yields.
//
//   for (int v : coir::generator<int>([](auto& yield) {
//          yield(1);
//          yield.from(std::vector{2, 3});
//        }))
//     std::cout << v;
#pragma once
#include <cstddef>
#include <iterator>
#include <memory>
#include <ranges>
#include <type_traits>
#include <utility>

#include <coir/coroutine/coroutine_yield.hpp>

namespace coir {

// An input range and a view, as std::generator is: T may be move-only or a reference, and an
// element is given as T&&. Move-only; default-constructed and moved-from ones are empty. One user
// at a time.
//
// The body runs in whoever iterates, as a coroutine's does: up to the first yield in begin(), and
// up to the next in each ++; what leaves it is thrown there. begin() again goes on where the last
// loop stood.
template <class T>
class generator : public std::ranges::view_base {
  static_assert(!std::is_void_v<T>, "generator<T>: what would be the elements?");

 public:
  using yield_type = coroutine_yield<T, void>;
  class iterator;

  generator() noexcept = default;
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, generator>) explicit generator(
      F&& body, std::size_t stack_size = default_coroutine_stack)
      : frame_(sched::coroutine_body<T, void, std::decay_t<F>>::make(std::forward<F>(body),
                                                                     stack_size)) {
    static_assert(
        std::is_void_v<typename sched::coroutine_body<T, void, std::decay_t<F>>::returned>,
        "a generator's body returns nothing: it yields");
  }
  generator(generator&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  generator& operator=(generator&& other) noexcept {
    generator gone(std::exchange(frame_, std::exchange(other.frame_, nullptr)));
    return *this;
  }
  ~generator() {  // unwinds the body where it stands, and drops errors
    if (frame_ != nullptr) sched::destroy(*frame_);
  }

  iterator begin() {
    if (frame_ != nullptr && !frame_->started) advance(*frame_);
    return iterator(frame_);
  }
  std::default_sentinel_t end() const noexcept { return std::default_sentinel; }

 private:
  explicit generator(yield_type* frame) noexcept : frame_(frame) {}
  static void advance(yield_type& frame) {
    sched::resume(frame);
    if (frame.status == coroutine_status::dead) [[unlikely]]
      sched::rethrow_error(frame);
  }

  yield_type* frame_ = nullptr;
};

// Moving on runs the body to its next yield.
template <class T>
class generator<T>::iterator {
 public:
  using value_type = std::remove_cvref_t<T>;
  using difference_type = std::ptrdiff_t;
  using reference = T&&;

  iterator(iterator&&) noexcept = default;
  iterator& operator=(iterator&&) noexcept = default;

  reference operator*() const noexcept {
    return static_cast<reference>(*static_cast<std::remove_reference_t<T>*>(frame_->out));
  }
  iterator& operator++() {
    advance(*frame_);
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const iterator& i, std::default_sentinel_t) noexcept { return i.at_end(); }

 private:
  friend class generator;
  bool at_end() const noexcept {
    return frame_ == nullptr || frame_->status == coroutine_status::dead;
  }
  explicit iterator(yield_type* frame) noexcept : frame_(frame) {}
  yield_type* frame_;
};

}  // namespace coir
