#include <coir/io/unix.hpp>

#include <string>

#include <sys/socket.h>

#include "handle_passing.hpp"
#include "socket_pair.hpp"
#include "system_calls.hpp"

namespace coir {

unix_stream unix_stream::connect(const endpoint& to, std::error_code& error) {
  return unix_stream(io::connect(to, io::transport::unix_domain, error));
}
unix_stream unix_stream::connect(const endpoint& to) {
  std::error_code error;
  unix_stream s = connect(to, error);
  if (error) io::throw_error(error, "coir: connect to " + to_string(to));
  return s;
}

unix_stream unix_stream::adopt(handle_type fd) { return unix_stream(io::adopt(fd)); }

std::pair<unix_stream, unix_stream> unix_stream::pair(std::error_code& error) {
  auto [one, other] = io::socket_pair(SOCK_STREAM, error);
  if (error) return {};
  return {unix_stream(std::move(one)), unix_stream(std::move(other))};
}
std::pair<unix_stream, unix_stream> unix_stream::pair() {
  std::error_code error;
  auto two = pair(error);
  io::check(error, "coir: socketpair");
  return two;
}

unix_credentials unix_stream::peer_credentials(std::error_code& error) const {
  ucred peer{};
  const int result =
      io::sys::get_option(native_handle(), SOL_SOCKET, SO_PEERCRED, &peer, sizeof peer);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
  return {peer.pid, peer.uid, peer.gid};
}
unix_credentials unix_stream::peer_credentials() const {
  std::error_code error;
  const unix_credentials peer = peer_credentials(error);
  io::check(error, "coir: peer_credentials");
  return peer;
}

void unix_stream::send_handle(handle_type fd, std::error_code& error) {
  io::send_handle(handle_.get(), fd, error);
}
void unix_stream::send_handle(handle_type fd) {
  std::error_code error;
  send_handle(fd, error);
  io::check(error, "coir: send_handle");
}
handle_type unix_stream::receive_handle(std::error_code& error) {
  return io::receive_handle(handle_.get(), error);
}
handle_type unix_stream::receive_handle() {
  std::error_code error;
  const handle_type fd = receive_handle(error);
  io::check(error, "coir: receive_handle");
  return fd;
}

unix_listener unix_listener::bind(const endpoint& at, listen_options o, std::error_code& error) {
  if (o.replace_stale) io::socket_file::remove_stale(at);
  unix_listener made(io::listen(at, io::transport::unix_domain, o, error));
  if (made.is_open()) made.file_ = io::socket_file(at);
  return made;
}
unix_listener unix_listener::bind(const endpoint& at, listen_options o) {
  std::error_code error;
  unix_listener l = bind(at, o, error);
  if (error) io::throw_error(error, "coir: listen on " + to_string(at));
  return l;
}

unix_listener unix_listener::adopt(handle_type fd) { return unix_listener(io::adopt_listener(fd)); }

unix_stream unix_listener::accept(std::error_code& error) {
  return unix_stream(io::accept(handle_.get(), error));
}
unix_stream unix_listener::accept() {
  std::error_code error;
  unix_stream s = accept(error);
  io::check(error, "coir: accept");
  return s;
}

void unix_listener::close() noexcept {
  file_.remove();
  socket_listener::close();
}

}  // namespace coir
