#include <coir/io/tcp.hpp>

#include <algorithm>
#include <limits>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "descriptor.hpp"
#include "system_calls.hpp"

namespace coir {

tcp_stream tcp_stream::connect(const endpoint& to, std::error_code& error) {
  return tcp_stream(io::connect(to, io::transport::tcp, error));
}
tcp_stream tcp_stream::connect(const endpoint& to) {
  std::error_code error;
  tcp_stream s = connect(to, error);
  if (error) io::throw_error(error, "coir: connect to " + to_string(to));
  return s;
}

tcp_stream tcp_stream::adopt(handle_type fd) { return tcp_stream(io::adopt(fd)); }

void tcp_stream::set_no_delay(bool on, std::error_code& error) {
  set_option(IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, error);
}
void tcp_stream::set_no_delay(bool on) {
  std::error_code error;
  set_no_delay(on, error);
  io::check(error, "coir: set_no_delay");
}

void tcp_stream::set_keep_alive(bool on, keep_alive_options o, std::error_code& error) {
  const auto whole = [](std::chrono::seconds s) {
    return static_cast<int>(
        std::clamp<std::chrono::seconds::rep>(s.count(), 0, std::numeric_limits<int>::max()));
  };
  set_option(SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0, error);
  if (!error && on && o.idle.count() != 0)
    set_option(IPPROTO_TCP, TCP_KEEPIDLE, whole(o.idle), error);
  if (!error && on && o.interval.count() != 0)
    set_option(IPPROTO_TCP, TCP_KEEPINTVL, whole(o.interval), error);
  if (!error && on && o.count != 0) set_option(IPPROTO_TCP, TCP_KEEPCNT, o.count, error);
}
void tcp_stream::set_keep_alive(bool on, keep_alive_options o) {
  std::error_code error;
  set_keep_alive(on, o, error);
  io::check(error, "coir: set_keep_alive");
}

void tcp_stream::set_zero_copy(std::size_t from, std::chrono::milliseconds patience) noexcept {
  if (io::descriptor* d = handle_.get(); d != nullptr) d->zero_copy.set(from, patience);
}

tcp_listener tcp_listener::bind(const endpoint& at, listen_options o, std::error_code& error) {
  return tcp_listener(io::listen(at, io::transport::tcp, o, error));
}
tcp_listener tcp_listener::bind(const endpoint& at, listen_options o) {
  std::error_code error;
  tcp_listener l = bind(at, o, error);
  if (error) io::throw_error(error, "coir: listen on " + to_string(at));
  return l;
}

tcp_listener tcp_listener::adopt(handle_type fd) {
  tcp_listener made(io::adopt_listener(fd));
  io::sys::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);  // as bind(): accepted sockets inherit it
  return made;
}

tcp_stream tcp_listener::accept(std::error_code& error) {
  return tcp_stream(io::accept(handle_.get(), error));
}
tcp_stream tcp_listener::accept() {
  std::error_code error;
  tcp_stream s = accept(error);
  io::check(error, "coir: accept");
  return s;
}

}  // namespace coir
