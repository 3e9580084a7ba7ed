// The report of a stack that overflowed: one line on stderr, then SIGSEGV.
#pragma once
#include <cstddef>
#include <string_view>

namespace coir::fiber {

struct stack;

// What the handler asks, on the alternate stack, about the thread that faulted. Async-signal-safe.
struct overflow_report {
  const stack* running = nullptr;  // null: the thread was on no fiber
  char name[32] = {};              // of the fiber; empty: it has none
  unsigned long long id = 0;       // 0: of no fiber, but a plain thread
  bool in_coroutine = false;
};
using overflow_probe = bool (*)(overflow_report&) noexcept;  // false: not a thread of ours

// Installs the SIGSEGV/SIGBUS handler once per process; what it does not recognise goes to the
// handler before it.
void install_overflow_handler(overflow_probe);

// The alternate signal stack of one thread; keeps one that the thread already has.
class alternate_signal_stack {
 public:
  alternate_signal_stack();
  ~alternate_signal_stack();
  alternate_signal_stack(const alternate_signal_stack&) = delete;
  alternate_signal_stack& operator=(const alternate_signal_stack&) = delete;

 private:
  void* memory_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace coir::fiber
