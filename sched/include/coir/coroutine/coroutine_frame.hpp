// The part of a coroutine that knows no types. It lies at the upper end of the coroutine's own
// stack, with the body above it, so that making one takes a stack and nothing from the heap.
//
// Always true: the coroutines that run on a waiter form a chain, from waiter::coroutine, which
// runs, along `below` to the one that the waiter itself resumed; all but the first are `normal`. A
// suspended one is in no chain, and belongs to whoever holds its coroutine object.
#pragma once
#include <cstdint>
#include <exception>

#include <coir/coroutine/coroutine_status.hpp>
#include <coir/fiber/context.hpp>
#include <coir/fiber/stack.hpp>

namespace coir::sched {

struct coroutine_frame;
struct waiter;

// What a kind of coroutine does at the turns of its life; one constant a kind.
struct coroutine_functions {
  void (*run)(coroutine_frame&);               // on its stack: calls the body, and destroys it
  void (*drop)(coroutine_frame&) noexcept;     // destroys a body that will never run
  void (*destroy)(coroutine_frame&) noexcept;  // destroys the rest
};

struct coroutine_frame : fiber::context {  // the body's, while it does not run
  fiber::context resumer;                  // of whoever resumed it, while it runs
  fiber::stack* own = nullptr;             // where it lies; `on` is another during on_big_stack
  coroutine_frame* below = nullptr;        // who that is, if it is a coroutine
  waiter* runner = nullptr;                // the fiber or thread that runs it
  void* out = nullptr;                     // what it yields, in the yielder's frame
  void* in = nullptr;                      // what it was resumed with, in the resumer's frame
  const coroutine_functions* functions = nullptr;
  coroutine_status status = coroutine_status::suspended;
  bool started = false;
  bool closing = false;
  std::uint16_t scopes = 0;  // that were open on the fiber when it was resumed
  std::uint32_t depth = 0;   // how many coroutines are nested, with this one
  std::exception_ptr error;  // what left the body, until it is rethrown
  fiber::stack outside;      // describes a resumer's stack that is no fiber's of a runtime
};

// Coroutines that have resumed each other on one fiber or thread: beyond it, resume throws
// std::runtime_error.
inline constexpr std::uint32_t most_nested_coroutines = 16384;

// --- what coroutine and generator are made of

// A stack, and the place on it for an object that derives from coroutine_frame. The size has at
// least what was asked for besides the object. Throws std::system_error if no stack can be had,
// std::invalid_argument for an impossible size.
struct coroutine_place {
  fiber::stack* stack;
  void* at;
};
coroutine_place take_coroutine_place(std::size_t stack_size, std::size_t object_size,
                                     std::size_t alignment);
void give_back(const coroutine_place&) noexcept;
void prepare(coroutine_frame&, const coroutine_place&) noexcept;  // to be resumed first

// Runs the body until it yields or ends; the caller looks at `status`, and then at `out` or calls
// rethrow_error. Throws dead_coroutine, std::logic_error (running or normal), std::runtime_error
// (nested too deep); then nothing has happened.
void resume(coroutine_frame&);

// In the body, with `out` set: goes back to the resumer. Returns when resumed again, with `in` set,
// or with `closing`, and then the caller calls throw_closed. Throws std::logic_error outside of the
// body, coroutine_closed if it is being closed. Stops the process if a scope is open.
void suspend(coroutine_frame&);
[[noreturn]] void throw_closed();

void close(coroutine_frame&);
void destroy(coroutine_frame&) noexcept;  // closes it, drops errors, gives the stack back
void rethrow_error(coroutine_frame&);     // if there is one

}  // namespace coir::sched
