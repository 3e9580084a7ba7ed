#include "thread_coroutines.hpp"

#include <cstdint>
#include <new>
#include <system_error>

#include <coir/coroutine/coroutine_frame.hpp>

#include "who_overflowed.hpp"

namespace coir::sched {

namespace {

// A body with captures up to this size shares the stack with the frames below it.
constexpr std::size_t object_within_stack = 1024;

// What a peak of coroutines leaves in the pool: beyond it, the pages go back to the kernel.
constexpr std::size_t most_warm_stacks = 4096;

// Of the process, because a coroutine may outlive the runtime whose fiber has made it, and never
// destroyed, because coroutines may be static.
fiber::stack_pool& coroutine_stacks() {
  static auto* pool = new fiber::stack_pool;
  return *pool;
}

std::size_t usual_stack() {
  static const std::size_t size = fiber::stack_pool::rounded(default_coroutine_stack);
  return size;
}

// Behind the running code's back nothing here switches, so the host stays the thread's.
thread_coroutines& of_this_thread() {
  host& here = current_host();
  return here.coroutines != nullptr ? *here.coroutines : make_thread_coroutines(here);
}

}  // namespace

thread_coroutines::thread_coroutines() : stacks(coroutine_stacks(), usual_stack()) {}

thread_coroutines& make_thread_coroutines(host& here) {
  auto made = std::make_unique<thread_coroutines>();
  made->carrier.attach();
  if (here.kind == host_kind::thread) {
    made->signal_stack.emplace();
    fiber::install_overflow_handler(&who_overflowed);
  }
  if (here.switches_with == nullptr) here.switches_with = &made->carrier;
  here.coroutines = made.release();
  return *here.coroutines;
}

thread_coroutines* thread_coroutines_if_possible(host& here) noexcept {
  if (here.coroutines != nullptr) return here.coroutines;
  try {
    return &make_thread_coroutines(here);
  } catch (...) {  // no memory, or no signal stack
    return nullptr;
  }
}

void forget_coroutines(host& of) noexcept {
  if (of.coroutines == nullptr) return;
  if (of.switches_with == &of.coroutines->carrier) of.switches_with = nullptr;
  delete of.coroutines;
  of.coroutines = nullptr;
}

coroutine_place take_coroutine_place(std::size_t stack_size, std::size_t object_size,
                                     std::size_t alignment) {
  if (stack_size == 0) stack_size = default_coroutine_stack;
  if (object_size > object_within_stack) stack_size += object_size + alignment;
  const std::size_t bytes = stack_size == default_coroutine_stack
                                ? usual_stack()
                                : fiber::stack_pool::rounded(stack_size);
  fiber::stack* s = of_this_thread().stacks.take(bytes);
  if (s == nullptr)
    throw std::system_error(std::make_error_code(std::errc::not_enough_memory),
                            "coir: there is no stack for a coroutine");
  const auto top = reinterpret_cast<std::uintptr_t>(s->limit + s->size);
  const std::uintptr_t at = (top - object_size) & ~(std::uintptr_t{alignment} - 1);
  return {s, s->limit + (at - reinterpret_cast<std::uintptr_t>(s->limit))};
}

void give_back(const coroutine_place& p) noexcept {
  thread_coroutines* const mine = thread_coroutines_if_possible(current_host());
  if (mine == nullptr) {
    p.stack->next = nullptr;
    return coroutine_stacks().release(p.stack);
  }
  fiber::stack_cache& cache = mine->stacks;
  const bool full = cache.cached() == fiber::stack_cache::limit;
  cache.put(p.stack);
  if (full && coroutine_stacks().metrics().stacks_cached > most_warm_stacks)
    coroutine_stacks().trim();
}

}  // namespace coir::sched
