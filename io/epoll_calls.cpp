#include "epoll_calls.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>

#include <linux/time_types.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace coir::io::sys {
namespace {

#ifndef __NR_epoll_pwait2
constexpr long number_of_epoll_pwait2 = 441;  // Linux 5.11
#else
constexpr long number_of_epoll_pwait2 = __NR_epoll_pwait2;
#endif

std::atomic<bool> has_nanoseconds{
    true};  // cleared by whoever finds epoll_pwait2 missing, read before each call

int wait_ms(int epoll, epoll_event* events, int room, int timeout_ms) noexcept {
  const int count = ::epoll_wait(epoll, events, room, timeout_ms);
  return count < 0 ? -errno : count;
}

int wait_ns(int epoll, epoll_event* events, int room, std::int64_t ns) noexcept {
  const __kernel_timespec timeout{ns / 1'000'000'000, ns % 1'000'000'000};
  const long count =
      ::syscall(number_of_epoll_pwait2, epoll, events, room, &timeout, nullptr, std::size_t{0});
  return count < 0 ? -errno : static_cast<int>(count);
}

}  // namespace

[[gnu::noinline]] int epoll_add(int epoll, int fd, std::uint32_t events, void* data) noexcept {
  epoll_event e{};
  e.events = events;
  e.data.ptr = data;
  return ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

[[gnu::noinline]] int epoll_remove(int epoll, int fd) noexcept {
  return ::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr) < 0 ? -errno : 0;
}

[[gnu::noinline]] int epoll_wait_until(int epoll, epoll_event* events, int room,
                                       clock::time_point deadline) noexcept {
  if (deadline == clock::time_point::min()) return wait_ms(epoll, events, room, 0);
  if (deadline == sched::never) return wait_ms(epoll, events, room, -1);
  const std::int64_t ns = std::max<std::int64_t>(0, (deadline - clock::now()).count());
  if (has_nanoseconds.load(std::memory_order_relaxed)) {
    const int count = wait_ns(epoll, events, room, ns);
    // Refused by an old kernel, or by a seccomp filter that does not know it.
    if (count != -ENOSYS && count != -EPERM) return count;
    has_nanoseconds.store(false, std::memory_order_relaxed);
  }
  const std::int64_t ms = (ns + 999'999) / 1'000'000;  // rounded up: never early
  return wait_ms(epoll, events, room,
                 static_cast<int>(std::min<std::int64_t>(ms, std::numeric_limits<int>::max())));
}

}  // namespace coir::io::sys
