#include <coir/fiber/overflow.hpp>
#include <coir/fiber/stack.hpp>

#include "stack_slab.hpp"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <system_error>

// Always true: the handler allocates nothing, locks nothing and touches only the alternate stack,
// the header of the running stack (at its far end from the fault) and the two actions that were
// there before it, written once.

namespace coir::fiber {

namespace {

// How far below its limit a stack is still the culprit: the guard, and what one frame may jump over
// it. Memory there that faults can be no other stack's.
constexpr std::size_t reach = 64 * 1024;
// How far below its limit a stack pointer is still the culprit's: a frame with a large array in it
// jumps over the guard, and over other stacks.
constexpr std::size_t longest_jump = 64 * 1024 * 1024;

std::atomic<overflow_probe> the_probe{nullptr};
struct sigaction before_segv, before_bus;

// One line, put together without the heap or stdio. What does not fit is cut.
class line {
 public:
  void add(const char* text) noexcept { add(text, std::strlen(text)); }
  void add(const char* text, std::size_t length) noexcept {
    length = std::min(length, sizeof text_ - used_);
    std::memcpy(text_ + used_, text, length);
    used_ += length;
  }
  void add(unsigned long long number) noexcept {
    char digits[20];
    std::size_t first = sizeof digits;
    do {
      digits[--first] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    add(digits + first, sizeof digits - first);
  }
  void write() const noexcept {
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text_, used_);
  }

 private:
  char text_[512];
  std::size_t used_ = 0;
};

void report(const overflow_report& of) noexcept {
  line l;
  l.add("coir: stack overflow in ");
  if (of.in_coroutine) l.add("a coroutine of ");
  if (of.in_coroutine && of.id == 0) {
    l.add("a plain thread");
  } else {
    l.add("fiber '");
    l.add(of.name, ::strnlen(of.name, sizeof of.name));
    l.add("' (id ");
    l.add(of.id);
    l.add(")");
  }
  l.add(": its stack has ");
  l.add(static_cast<unsigned long long>(of.running->size));
  l.add(of.in_coroutine
            ? " bytes; give it more as the second argument of its coroutine or generator, or use "
              "on_big_stack\n"
            : " bytes; give it more with spawn_options::stack_size or COIR_STACK_SIZE, or use "
              "on_big_stack\n");
  l.write();
}

// By address: a fault on an installed guard is SEGV_MAPERR, on a protected one SEGV_ACCERR.
bool is_below(const stack& s, const void* fault) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(fault);
  const auto limit = reinterpret_cast<std::uintptr_t>(s.limit);
  return address < limit && limit - address <= reach + 2 * page_size();
}

std::uintptr_t stack_pointer(const void* where) noexcept {
  const mcontext_t& at = static_cast<const ucontext_t*>(where)->uc_mcontext;
#if defined(__x86_64__)
  return static_cast<std::uintptr_t>(at.gregs[REG_RSP]);
#else
  return static_cast<std::uintptr_t>(at.sp);
#endif
}

// By the stack pointer, which a large frame has taken beyond the limit before anything of it was
// touched: the fault is in that frame, or in what a call pushed below it.
bool has_jumped_below(const stack& s, const void* where, const void* fault) noexcept {
  const std::uintptr_t pointer = stack_pointer(where);
  const auto address = reinterpret_cast<std::uintptr_t>(fault);
  const auto limit = reinterpret_cast<std::uintptr_t>(s.limit);
  return pointer < limit && limit - pointer <= longest_jump && address < limit &&
         address >= pointer - page_size();
}

// From the handler: the signal is blocked here, so it arrives on return, where the fault happened.
void die_of(int signal) noexcept {
  struct sigaction by_default = {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(signal, &by_default, nullptr);
  ::raise(signal);
}

void chain(int signal, siginfo_t* info, void* where) noexcept {
  const struct sigaction& before = signal == SIGSEGV ? before_segv : before_bus;
  const bool sent = info->si_code <= 0;  // by kill or the like: no fault
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, where);
  if (before.sa_handler == SIG_DFL || (before.sa_handler == SIG_IGN && !sent))
    return die_of(signal);
  if (before.sa_handler != SIG_IGN) before.sa_handler(signal);
}

void on_fault(int signal, siginfo_t* info, void* where) noexcept {
  const int error_number = errno;
  overflow_report of;
  const overflow_probe probe = the_probe.load(std::memory_order_acquire);
  if (info->si_code > 0 && probe(of) && of.running != nullptr &&
      (is_below(*of.running, info->si_addr) ||
       has_jumped_below(*of.running, where, info->si_addr))) {
    report(of);
    die_of(signal);
  } else {
    chain(signal, info, where);
  }
  errno = error_number;
}

std::size_t alternate_stack_bytes() noexcept {
  constexpr std::size_t enough =
      64 * 1024;  // also for a handler before ours that prints a backtrace
#if defined(_SC_SIGSTKSZ)
  const long wanted = ::sysconf(_SC_SIGSTKSZ);  // grows with the processor's vector registers
  return std::max(enough, wanted > 0 ? static_cast<std::size_t>(wanted) : 0);
#else
  return enough;
#endif
}

}  // namespace

void install_overflow_handler(overflow_probe probe) {
  static std::once_flag once;
  std::call_once(once, [probe] {
    the_probe.store(probe, std::memory_order_release);
    page_size();  // so that the handler need not ask for it
    // The actions that were there are known before ours can run.
    ::sigaction(SIGSEGV, nullptr, &before_segv);
    ::sigaction(SIGBUS, nullptr, &before_bus);
    struct sigaction ours = {};
    ours.sa_sigaction = on_fault;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    ::sigaction(SIGSEGV, &ours, nullptr);
    ::sigaction(SIGBUS, &ours, nullptr);
  });
}

alternate_signal_stack::alternate_signal_stack() {
  stack_t now = {};
  if (::sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0) return;
  const std::size_t guard = page_size();
  const std::size_t bytes = (alternate_stack_bytes() + guard - 1) / guard * guard + guard;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    throw std::system_error(errno, std::generic_category(),
                            "coir: no memory for an alternate signal stack");
  ::mprotect(memory, guard,
             PROT_NONE);  // without it an overflow of this stack is only harder to find
  stack_t ours = {};
  ours.ss_sp = static_cast<std::byte*>(memory) + guard;
  ours.ss_size = bytes - guard;
  if (::sigaltstack(&ours, nullptr) != 0) {
    const int why = errno;
    ::munmap(memory, bytes);
    throw std::system_error(why, std::generic_category(), "coir: sigaltstack");
  }
  memory_ = memory;
  size_ = bytes;
}

alternate_signal_stack::~alternate_signal_stack() {
  if (memory_ == nullptr) return;
  stack_t now = {};
  const auto* ours = static_cast<std::byte*>(memory_) + page_size();
  if (::sigaltstack(nullptr, &now) == 0 && now.ss_sp == ours) {
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
  }
  ::munmap(memory_, size_);
}

}  // namespace coir::fiber
