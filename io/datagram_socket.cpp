#include <coir/io/datagram_socket.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>

#include <netinet/in.h>
#include <sys/socket.h>

#include "addresses.hpp"
#include "io_call.hpp"
#include "messages.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

std::error_code code_of(int result) noexcept {
  return result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}

int as_int(std::size_t n) noexcept {
  return static_cast<int>(std::min<std::size_t>(n, std::numeric_limits<int>::max()));
}

endpoint with_port(const endpoint& e, std::uint16_t port) noexcept {
  sockaddr_storage address{};
  std::memcpy(&address, e.native(), e.native_size());
  // The same place in both families.
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  const std::uint16_t in_network_order = htons(port);
  std::memcpy(reinterpret_cast<char*>(&address) + offsetof(sockaddr_in, sin_port),
              &in_network_order, sizeof in_network_order);
  return endpoint::from_native(&address, e.native_size());
}

// With its peer a socket loses a port that the kernel chose for it: it gets it again.
int leave_peer(int fd) noexcept {
  std::error_code error;
  const std::uint16_t port = io::local_address(fd, error).port();
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  const int result = io::sys::connect(fd, &nobody, sizeof nobody);
  const endpoint now = io::local_address(fd, error);
  if (result < 0 || port == 0 || now.port() != 0) return result;
  const endpoint again = with_port(now, port);
  return io::sys::bind(fd, again.native(), again.native_size());
}

}  // namespace

datagram datagram_socket::recv_from(std::span<std::byte> into, std::error_code& error) {
  return io::receive_message(handle_.get(), into, true, 0, error);
}
datagram datagram_socket::recv_from(std::span<std::byte> into) {
  std::error_code error;
  const datagram got = recv_from(into, error);
  io::check(error, "coir: recv_from");
  return got;
}

datagram datagram_socket::recv(std::span<std::byte> into, std::error_code& error) {
  return io::receive_message(handle_.get(), into, false, 0, error);
}
datagram datagram_socket::recv(std::span<std::byte> into) {
  std::error_code error;
  const datagram got = recv(into, error);
  io::check(error, "coir: recv");
  return got;
}

datagram datagram_socket::peek_from(std::span<std::byte> into, std::error_code& error) {
  return io::receive_message(handle_.get(), into, true, MSG_PEEK, error);
}
datagram datagram_socket::peek_from(std::span<std::byte> into) {
  std::error_code error;
  const datagram got = peek_from(into, error);
  io::check(error, "coir: peek_from");
  return got;
}

std::size_t datagram_socket::recv_batch(std::span<receive_slot> slots, std::error_code& error) {
  return io::receive_messages(handle_.get(), slots, error);
}
std::size_t datagram_socket::recv_batch(std::span<receive_slot> slots) {
  std::error_code error;
  const std::size_t n = recv_batch(slots, error);
  io::check(error, "coir: recv_batch");
  return n;
}

std::size_t datagram_socket::send_to(std::span<const std::byte> from, const endpoint& to,
                                     std::error_code& error) {
  if (to.kind() != endpoint::family::none) return io::send_message(handle_.get(), from, to, error);
  error = std::make_error_code(std::errc::address_family_not_supported);
  return 0;
}
std::size_t datagram_socket::send_to(std::span<const std::byte> from, const endpoint& to) {
  std::error_code error;
  const std::size_t n = send_to(from, to, error);
  if (error) io::throw_error(error, "coir: send_to " + to_string(to));
  return n;
}

std::size_t datagram_socket::send(std::span<const std::byte> from, std::error_code& error) {
  return io::send_message(handle_.get(), from, endpoint(), error);
}
std::size_t datagram_socket::send(std::span<const std::byte> from) {
  std::error_code error;
  const std::size_t n = send(from, error);
  io::check(error, "coir: send");
  return n;
}

std::size_t datagram_socket::send_batch(std::span<const send_slot> slots, std::error_code& error) {
  return io::send_messages(handle_.get(), slots, error);
}
std::size_t datagram_socket::send_batch(std::span<const send_slot> slots) {
  std::error_code error;
  const std::size_t n = send_batch(slots, error);
  io::check(error, "coir: send_batch");
  return n;
}

void datagram_socket::connect(const endpoint& to, std::error_code& error) {
  io::io_call permitted;
  if (!permitted.enter_foreign(-1, sched::wait_kind::connect, error)) return;
  const int fd = handle_.native();
  error = code_of(to.kind() == endpoint::family::none
                      ? leave_peer(fd)
                      : io::sys::connect(fd, to.native(), to.native_size()));
  // What an earlier peer's machine has answered belongs to no call from now on.
  if (!error) io::sys::get_option(fd, SOL_SOCKET, SO_ERROR);
}
void datagram_socket::connect(const endpoint& to) {
  std::error_code error;
  connect(to, error);
  if (error) io::throw_error(error, "coir: connect to " + to_string(to));
}

void datagram_socket::set_deadline(bool reading, clock::time_point when) {
  io::descriptor* d = handle_.get();
  if (d != nullptr) io::set_deadline(*d, reading ? d->reading : d->writing, when);
}

void datagram_socket::set_option(int level, int name, int value, std::error_code& error) {
  error = code_of(io::sys::set_option(handle_.native(), level, name, value));
}
std::size_t datagram_socket::get_option(int level, int name) const {
  const int value = io::sys::get_option(handle_.native(), level, name);
  io::check(code_of(value), "coir: getsockopt");
  return static_cast<std::size_t>(value);
}

void datagram_socket::set_receive_buffer(std::size_t size, std::error_code& error) {
  set_option(SOL_SOCKET, SO_RCVBUF, as_int(size), error);
}
void datagram_socket::set_receive_buffer(std::size_t size) {
  std::error_code error;
  set_receive_buffer(size, error);
  io::check(error, "coir: set_receive_buffer");
}
void datagram_socket::set_send_buffer(std::size_t size, std::error_code& error) {
  set_option(SOL_SOCKET, SO_SNDBUF, as_int(size), error);
}
void datagram_socket::set_send_buffer(std::size_t size) {
  std::error_code error;
  set_send_buffer(size, error);
  io::check(error, "coir: set_send_buffer");
}
std::size_t datagram_socket::receive_buffer() const { return get_option(SOL_SOCKET, SO_RCVBUF); }
std::size_t datagram_socket::send_buffer() const { return get_option(SOL_SOCKET, SO_SNDBUF); }

endpoint datagram_socket::local(std::error_code& error) const {
  return io::local_address(handle_.native(), error);
}
endpoint datagram_socket::local() const {
  std::error_code error;
  endpoint e = local(error);
  io::check(error, "coir: local");
  return e;
}
endpoint datagram_socket::remote(std::error_code& error) const {
  return io::remote_address(handle_.native(), error);
}
endpoint datagram_socket::remote() const {
  std::error_code error;
  endpoint e = remote(error);
  io::check(error, "coir: remote");
  return e;
}

}  // namespace coir
