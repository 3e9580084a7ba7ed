// What a thread keeps for the coroutines that are made and run on it.
#pragma once
#include <optional>

#include <coir/fiber/context.hpp>
#include <coir/fiber/overflow.hpp>
#include <coir/fiber/stack.hpp>
#include <coir/sched/host.hpp>

namespace coir::sched {

// Made by the first coroutine on the thread; goes with the host, a plain thread's with the thread.
struct thread_coroutines {
  thread_coroutines();

  fiber::stack_cache stacks;
  fiber::carrier carrier;                                     // unless the host is one itself
  std::optional<fiber::alternate_signal_stack> signal_stack;  // a plain thread's; workers have one
};

// Of the calling thread's host. May throw std::bad_alloc, std::system_error.
thread_coroutines& make_thread_coroutines(host&);
thread_coroutines* thread_coroutines_if_possible(host&) noexcept;  // null: there is no memory
void forget_coroutines(host&) noexcept;

}  // namespace coir::sched
