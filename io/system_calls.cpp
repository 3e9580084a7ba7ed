#include "system_calls.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <unistd.h>

namespace coir::io::sys {
namespace {

// The kernel moves at most this much in one call; more would not fit the result.
constexpr std::size_t most = 0x7ffff000;

template <class T>
T answer(T result) noexcept {
  return result < 0 ? static_cast<T>(-errno) : result;
}

}  // namespace

[[gnu::noinline]] int socket(int family, int type) noexcept {
  return answer(::socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}
[[gnu::noinline]] int socket_pair(int family, int type, int (&fds)[2]) noexcept {
  return answer(::socketpair(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
}
[[gnu::noinline]] int bind(int fd, const void* address, std::size_t size) noexcept {
  return answer(::bind(fd, static_cast<const sockaddr*>(address), static_cast<socklen_t>(size)));
}
[[gnu::noinline]] int listen(int fd, int backlog) noexcept { return answer(::listen(fd, backlog)); }
[[gnu::noinline]] int set_option(int fd, int level, int name, int value) noexcept {
  return answer(::setsockopt(fd, level, name, &value, sizeof value));
}
[[gnu::noinline]] int set_option(int fd, int level, int name, const void* value,
                                 std::size_t size) noexcept {
  return answer(::setsockopt(fd, level, name, value, static_cast<socklen_t>(size)));
}
[[gnu::noinline]] int get_option(int fd, int level, int name) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  const int result = answer(::getsockopt(fd, level, name, &value, &size));
  return result < 0 ? result : value;
}
[[gnu::noinline]] int get_option(int fd, int level, int name, void* value,
                                 std::size_t size) noexcept {
  auto length = static_cast<socklen_t>(size);
  return answer(::getsockopt(fd, level, name, value, &length));
}
[[gnu::noinline]] int shutdown(int fd, int how) noexcept { return answer(::shutdown(fd, how)); }
// Not repeated after EINTR: Linux has closed the descriptor all the same.
[[gnu::noinline]] int close(int fd) noexcept { return answer(::close(fd)); }
[[gnu::noinline]] int set_non_blocking(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return (flags & O_NONBLOCK) != 0 ? 0 : answer(::fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}
[[gnu::noinline]] int set_close_on_exec(int fd) noexcept {
  return answer(::fcntl(fd, F_SETFD, FD_CLOEXEC));
}
[[gnu::noinline]] int duplicate(int fd) noexcept { return answer(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

[[gnu::noinline]] std::int32_t receive(int fd, void* into, std::size_t size) noexcept {
  return static_cast<std::int32_t>(answer(::recv(fd, into, std::min(size, most), MSG_DONTWAIT)));
}
[[gnu::noinline]] std::int32_t send(int fd, const void* from, std::size_t size) noexcept {
  return static_cast<std::int32_t>(
      answer(::send(fd, from, std::min(size, most), MSG_DONTWAIT | MSG_NOSIGNAL)));
}
[[gnu::noinline]] std::int32_t send_message(int fd, const msghdr& message) noexcept {
  return static_cast<std::int32_t>(answer(::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)));
}
[[gnu::noinline]] std::int32_t receive_message(int fd, msghdr& message, int flags) noexcept {
  return static_cast<std::int32_t>(answer(::recvmsg(fd, &message, flags | MSG_DONTWAIT)));
}
[[gnu::noinline]] int receive_messages(int fd, mmsghdr* messages, unsigned count) noexcept {
  return answer(::recvmmsg(fd, messages, count, MSG_DONTWAIT, nullptr));
}
[[gnu::noinline]] int send_messages(int fd, mmsghdr* messages, unsigned count) noexcept {
  return answer(::sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL));
}
[[gnu::noinline]] int accept(int fd) noexcept {
  return answer(::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
}
[[gnu::noinline]] int connect(int fd, const void* address, std::size_t size) noexcept {
  return answer(::connect(fd, static_cast<const sockaddr*>(address), static_cast<socklen_t>(size)));
}
[[gnu::noinline]] int ring(int eventfd) noexcept {
  const std::uint64_t one = 1;
  return static_cast<int>(answer(::write(eventfd, &one, sizeof one)));
}
[[gnu::noinline]] bool ready_now(int fd, short events) noexcept {
  pollfd p{fd, events, 0};
  return ::poll(&p, 1, 0) > 0;
}

[[gnu::noinline]] name_answer look_up(const char* host, const char* service, const addrinfo& hints,
                                      addrinfo*& found) noexcept {
  const int code = ::getaddrinfo(host, service, &hints, &found);
  return {code, code == EAI_SYSTEM ? errno : 0};
}

[[noreturn]] void descriptor_is_lost(const char* which, int fd, int error) noexcept {
  std::fprintf(stderr, "coir: %s of a worker, descriptor %d: %s; was it closed by other code?\n",
               which, fd, std::system_category().message(-error).c_str());
  std::abort();
}

}  // namespace coir::io::sys
