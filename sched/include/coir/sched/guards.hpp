// Promises that a fiber makes for a while.
#pragma once
#include <coir/sched/waiter.hpp>

namespace coir {

// While one lives, its fiber stays on the worker that runs it: for code that keeps thread-local
// state across a blocking call. They nest, and go on the fiber that made them. Nothing on a plain
// thread, which stays anyway.
class pin_guard {
 public:
  pin_guard() noexcept;
  ~pin_guard();
  pin_guard(const pin_guard&) = delete;
  pin_guard& operator=(const pin_guard&) = delete;

 private:
  sched::waiter* const who_;
};

// While one lives, a blocking call of its fiber, or thread, stops the process with a message, also
// if it would not have had to wait; try_ forms are none. They nest, and go on the fiber that made
// them.
class no_suspend_scope {
 public:
  no_suspend_scope() noexcept;
  ~no_suspend_scope();
  no_suspend_scope(const no_suspend_scope&) = delete;
  no_suspend_scope& operator=(const no_suspend_scope&) = delete;

 private:
  sched::waiter* const who_;
  const bool first_;  // no other was alive
};

}  // namespace coir
