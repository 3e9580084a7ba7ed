#include "futex.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <coir/fiber/under_sanitizers.hpp>

namespace coir::sched {
namespace {

// ThreadSanitizer keeps a signal back until its thread calls a function of the C library that it
// watches, and a thread that waits here calls none: a service would not hear SIGTERM.
clock::time_point take_signals(clock::time_point deadline) noexcept {
  ::usleep(0);
  return std::min(deadline, clock::now() + std::chrono::milliseconds(20));
}

futex_result wait_until(std::atomic<std::uint32_t>& word, std::uint32_t value,
                        clock::time_point deadline) noexcept {
  timespec until{};
  timespec* limit = nullptr;
  if (deadline != never) {
    const auto ns = std::chrono::nanoseconds(deadline.time_since_epoch()).count();
    until.tv_sec = ns > 0 ? static_cast<time_t>(ns / 1'000'000'000) : 0;
    until.tv_nsec = ns > 0 ? static_cast<long>(ns % 1'000'000'000) : 0;
    limit = &until;
  }
  // FUTEX_WAIT_BITSET takes an absolute time of CLOCK_MONOTONIC, which steady_clock is
  // (Linux 2.6.25).
  const long r = ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value, limit,
                           nullptr, FUTEX_BITSET_MATCH_ANY);
  return r != 0 && errno == ETIMEDOUT ? futex_result::timed_out : futex_result::woken;
}

}  // namespace

futex_result futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t value,
                        clock::time_point deadline) noexcept {
  if constexpr (!fiber::sanitizers::thread) return wait_until(word, value, deadline);
  for (;;) {
    const clock::time_point slice = take_signals(deadline);
    const futex_result r = wait_until(word, value, slice);
    if (r == futex_result::woken || slice == deadline) return r;
  }
}

void futex_wake(std::atomic<std::uint32_t>& word, int count) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, nullptr, nullptr, 0);
}

}  // namespace coir::sched
