#include "file_calls.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system_calls.hpp"

namespace coir::io::sys {
namespace {

constexpr std::size_t most = 0x7ffff000;

template <class T>
std::int32_t answer(T result) noexcept {
  return result < 0 ? -errno : static_cast<std::int32_t>(result);
}
int count_of(std::span<const iovec> parts) noexcept {
  return static_cast<int>(std::min<std::size_t>(parts.size(), IOV_MAX));
}

// The file, or the kernel, knows no call that does not wait.
bool has_no_flag(std::int32_t result) noexcept {
  return result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL;
}

}  // namespace

[[gnu::noinline]] std::int32_t read(int fd, std::span<std::byte> into) noexcept {
  return answer(::read(fd, into.data(), std::min(into.size(), most)));
}
[[gnu::noinline]] std::int32_t write(int fd, std::span<const iovec> from) noexcept {
  return answer(::writev(fd, from.data(), count_of(from)));
}

[[gnu::noinline]] std::int32_t read_now(int fd, std::span<std::byte> into, bool shared) noexcept {
  if (!shared) return read(fd, into);
  const iovec part{into.data(), std::min(into.size(), most)};
  const std::int32_t result = answer(::preadv2(fd, &part, 1, -1, RWF_NOWAIT));
  if (!has_no_flag(result)) return result;
  return ready_now(fd, POLLIN) ? read(fd, into) : -EAGAIN;
}

[[gnu::noinline]] std::int32_t write_now(int fd, std::span<const iovec> from,
                                         bool shared) noexcept {
  if (!shared) return write(fd, from);
  const std::int32_t result = answer(::pwritev2(fd, from.data(), count_of(from), -1, RWF_NOWAIT));
  if (!has_no_flag(result)) return result;
  if (!ready_now(fd, POLLOUT)) return -EAGAIN;
  // So much a pipe takes at once if it takes anything.
  return answer(
      ::write(fd, from.front().iov_base, std::min<std::size_t>(from.front().iov_len, PIPE_BUF)));
}

[[gnu::noinline]] int make_pipe(int (&ends)[2]) noexcept {
  return answer(::pipe2(ends, O_CLOEXEC | O_NONBLOCK));
}

[[gnu::noinline]] int make_blocking_pipe(int (&ends)[2]) noexcept {
  return answer(::pipe2(ends, O_CLOEXEC));
}
[[gnu::noinline]] int open_null() noexcept {
  return answer(::open("/dev/null", O_RDWR | O_CLOEXEC));
}
[[gnu::noinline]] void wait_until_ready(int fd, short events) noexcept {
  pollfd p{fd, events, 0};
  while (::poll(&p, 1, -1) < 0 && errno == EINTR) {}
}

[[gnu::noinline]] file_kind kind_of(int fd) noexcept {
  struct stat s {};
  if (::fstat(fd, &s) != 0) return file_kind::bad;
  if (S_ISFIFO(s.st_mode)) return file_kind::fifo;
  if (S_ISREG(s.st_mode) || S_ISBLK(s.st_mode) || S_ISDIR(s.st_mode)) return file_kind::regular;
  // The other end of a pseudo-terminal is none here: who opened that again would get a new pair.
  unsigned number = 0;
  if (S_ISCHR(s.st_mode) && ::isatty(fd) != 0 && ::ioctl(fd, TIOCGPTN, &number) != 0)
    return file_kind::terminal;
  return file_kind::other;
}

[[gnu::noinline]] int open_flags(int fd) noexcept { return answer(::fcntl(fd, F_GETFL)); }

[[gnu::noinline]] int reopen_non_blocking(int fd) noexcept {
  const int flags = open_flags(fd);
  if (flags < 0) return flags;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return answer(::open(path, (flags & (O_ACCMODE | O_APPEND)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

[[gnu::noinline]] int set_blocking(int fd) noexcept {
  const int flags = open_flags(fd);
  return flags < 0 ? flags : answer(::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}
[[gnu::noinline]] int replace(int fd, int by) noexcept { return answer(::dup3(by, fd, O_CLOEXEC)); }
[[gnu::noinline]] int duplicate_high(int fd) noexcept {
  return answer(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

}  // namespace coir::io::sys
