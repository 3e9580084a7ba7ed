// The context switch: what a fiber needs saved, and the one function that exchanges two of them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace coir::fiber {

struct stack;
struct context;

// The C++ runtime's record of exceptions being handled (__cxa_get_globals), laid out as the Itanium
// ABI has it.
struct exception_state {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

// One per thread that runs fibers, for as long as it runs them. The addresses are taken once, by
// attach(), because both compilers keep them across a switch as if a function never changed
// threads.
struct carrier {
  exception_state* exceptions = nullptr;
  int* error_number = nullptr;
  context* previous = nullptr;  // who jumped; its context is stored on the stack that was jumped to
  context* next = nullptr;      // who is jumped to; read by a context that is entered first
  std::uint32_t vector_control = 0;  // the thread's floating-point control words when it attached,
  std::uint16_t x87_control = 0;     // with which every fiber starts, whoever makes it

  void attach() noexcept;  // on the thread itself, before its first switch
};

// A stack that is entered for the first time calls its entry with the carrier that it runs on.
// Never returns.
using entry_function = void (*)(carrier&, context&) noexcept;

// What is kept of a fiber, or of a thread's own stack, while something else runs. 40 bytes.
struct context {
  void* stack_pointer = nullptr;  // null: never entered
  void* caught = nullptr;         // exception_state of the fiber
  unsigned uncaught = 0;
  int error_number = 0;
  entry_function entry = nullptr;
  stack* on = nullptr;  // its stack's header: bounds, and the sanitizers' state
};

// Prepares `to` to be entered at `entry` on an empty stack, whose `reserved` upper bytes are not
// the frames'.
void make_context(context& to, stack& on, entry_function entry, std::size_t reserved = 0) noexcept;

// Describes the calling thread's own stack as a context that can be switched away from and back to;
// `header` lives as long as the context.
void make_thread_context(context& of_thread, stack& header) noexcept;

enum class departure : std::uint8_t {
  parked,  // `from` will be switched to again
  ended,   // `from` never runs again: its sanitizer state may go; the call does not return
};

// Saves the running code as `from`, runs `to`. Returns when somebody switches to `from`, on the
// carrier that did so, which may be another thread's. Sanitizers are told, the predecessor's
// context is stored, the exception state and errno are `from`'s again; nothing else has happened on
// this stack yet.
carrier& switch_context(carrier& on, context& from, context& to,
                        departure how = departure::parked) noexcept;

}  // namespace coir::fiber
