#include <coir/io/unix_datagram.hpp>

#include <sys/socket.h>

#include "addresses.hpp"
#include "io_call.hpp"
#include "socket_pair.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

// A bound socket; a closed handle and `error` otherwise.
io::handle make_bound(const void* address, std::size_t size, std::error_code& error) {
  const int fd = io::sys::socket(AF_UNIX, SOCK_DGRAM);
  if (fd < 0) {
    error.assign(-fd, std::system_category());
    return {};
  }
  io::handle made(fd);
  if (const int result = io::sys::bind(fd, address, size); result < 0) {
    error.assign(-result, std::system_category());
    return {};
  }
  return made;
}

bool is_permitted(std::error_code& error) {
  io::io_call permitted;
  return permitted.enter_foreign(-1, sched::wait_kind::nothing, error);
}

}  // namespace

unix_datagram unix_datagram::bind(const endpoint& at, bind_options options,
                                  std::error_code& error) {
  if (!is_permitted(error) || !io::suits(at, io::transport::unix_domain, error)) return {};
  if (options.replace_stale) io::socket_file::remove_stale(at);
  unix_datagram made(make_bound(at.native(), at.native_size(), error));
  if (made.is_open()) made.file_ = io::socket_file(at);
  return made;
}
unix_datagram unix_datagram::bind(const endpoint& at, bind_options options) {
  std::error_code error;
  unix_datagram s = bind(at, options, error);
  if (error) io::throw_error(error, "coir: bind to " + to_string(at));
  return s;
}

unix_datagram unix_datagram::bind(std::error_code& error) {
  if (!is_permitted(error)) return {};
  const sa_family_t family = AF_UNIX;  // an address of no length: unix(7), autobind
  return unix_datagram(make_bound(&family, sizeof family, error));
}
unix_datagram unix_datagram::bind() {
  std::error_code error;
  unix_datagram s = bind(error);
  io::check(error, "coir: bind");
  return s;
}

std::pair<unix_datagram, unix_datagram> unix_datagram::pair(std::error_code& error) {
  if (!is_permitted(error)) return {};
  auto [one, other] = io::socket_pair(SOCK_DGRAM, error);
  if (error) return {};
  return {unix_datagram(std::move(one)), unix_datagram(std::move(other))};
}
std::pair<unix_datagram, unix_datagram> unix_datagram::pair() {
  std::error_code error;
  auto two = pair(error);
  io::check(error, "coir: socketpair");
  return two;
}

unix_datagram unix_datagram::adopt(handle_type fd) { return unix_datagram(io::adopt(fd)); }

}  // namespace coir
