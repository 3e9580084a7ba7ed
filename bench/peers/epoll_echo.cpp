// The limit of a server on epoll: one thread, no fibers, no more than echo needs.
#include <array>
#include <exception>

#include <sys/epoll.h>
#include <unistd.h>

#include "../flags.hpp"
#include "../process.hpp"
#include "listening_socket.hpp"

namespace {

using peers::check;

void watch(int set, int descriptor, std::uint32_t events) {
  epoll_event e{};
  e.events = events;
  e.data.fd = descriptor;
  check(::epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &e), "epoll_ctl");
}

void accept_all(int set, int listener) {
  for (int s; (s = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1;)
    watch(set, s, EPOLLIN);
}

// One receive, one send: a client that does not read its answers loses its connection.
void answer(int s) {
  std::array<char, 16 * 1024> buffer;
  const ssize_t n = ::recv(s, buffer.data(), buffer.size(), 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0 || ::send(s, buffer.data(), static_cast<std::size_t>(n), MSG_NOSIGNAL) != n)
    ::close(s);
}

[[noreturn]] void serve(int listener) {
  const int set = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  watch(set, listener, EPOLLIN);
  std::array<epoll_event, 512> events;
  for (;;) {
    const int n = ::epoll_wait(set, events.data(), events.size(), -1);
    for (int i = 0; i < n; ++i) {
      const int s = events[static_cast<unsigned>(i)].data.fd;
      s == listener ? accept_all(set, s) : answer(s);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const bench::flags given(argc, argv, "--listen ADDRESS:PORT", {{"listen", "ADDRESS:PORT", ""}});
  bench::raise_descriptor_limit();
  serve(peers::listening_socket(given.text("listen", "127.0.0.1:0"), "epoll_echo"));
} catch (const std::exception& e) {
  std::fprintf(stderr, "epoll_echo: %s\n", e.what());
  return 1;
}
