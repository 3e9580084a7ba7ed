// What the raw servers begin with.
#pragma once
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace peers {

inline int check(int result, const char* call) {
  if (result == -1) throw std::system_error(errno, std::system_category(), call);
  return result;
}

// Listens on an IPv4 address and port, and prints where. What it accepts has TCP_NODELAY set.
inline int listening_socket(const std::string& address, const char* program) {
  const auto colon = address.rfind(':');
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  if (::inet_pton(AF_INET, address.substr(0, colon).c_str(), &at.sin_addr) != 1)
    throw std::invalid_argument("not an IPv4 address: " + address);
  const int s = check(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  check(::setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
  check(::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
  check(::bind(s, reinterpret_cast<sockaddr*>(&at), sizeof at), "bind");
  check(::listen(s, 4096), "listen");
  socklen_t size = sizeof at;
  check(::getsockname(s, reinterpret_cast<sockaddr*>(&at), &size), "getsockname");
  std::printf("%s: 127.0.0.1:%u\n", program, unsigned{ntohs(at.sin_port)});
  std::fflush(stdout);
  return s;
}

}  // namespace peers
