#include <coir/sched/atomics.hpp>

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fatal.hpp"

namespace coir::sched {

bool asymmetric_fences = false;

void enable_asymmetric_fences() noexcept {
  // Once: other runtimes read it meanwhile.
  static const bool done = [] {
    asymmetric_fences =
        ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
    return true;
  }();
  static_cast<void>(done);
}

void membarrier_all_threads() noexcept {
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) [[unlikely]]
    fatal(
        "membarrier(2) failed after it had been registered: was a seccomp filter installed "
        "meanwhile?");
}

void std_atomics::pause(unsigned turn) noexcept {
  constexpr unsigned patience = 64;
  if (turn < patience) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield" ::: "memory");
#endif
  } else {
    ::sched_yield();
  }
}

}  // namespace coir::sched
