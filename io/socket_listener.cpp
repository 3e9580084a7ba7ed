#include <coir/io/socket_listener.hpp>

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "accept_errors.hpp"
#include "addresses.hpp"
#include "reactor.hpp"
#include "system_calls.hpp"

namespace coir {

endpoint socket_listener::local(std::error_code& error) const {
  return io::local_address(handle_.native(), error);
}
endpoint socket_listener::local() const {
  std::error_code error;
  endpoint e = local(error);
  io::check(error, "coir: local");
  return e;
}

void socket_listener::close() noexcept { handle_.close(); }
handle_type socket_listener::release() noexcept { return handle_.release(); }

namespace io {
namespace {

// The first failure of what follows a socket's creation.
int prepare(int fd, const endpoint& at, transport how, const listen_options& options) {
  int result = 0;
  const auto set = [&](bool wanted, int level, int name, int value) {
    if (wanted && result >= 0) result = sys::set_option(fd, level, name, value);
  };
  const bool tcp = how == transport::tcp;
  set(tcp, SOL_SOCKET, SO_REUSEADDR, 1);
  set(options.reuse_port, SOL_SOCKET, SO_REUSEPORT, 1);
  set(at.kind() == endpoint::family::ipv6, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0);
  set(tcp, IPPROTO_TCP, TCP_NODELAY, 1);  // accepted sockets inherit it
  if (result >= 0) result = sys::bind(fd, at.native(), at.native_size());
  return result >= 0 ? sys::listen(fd, options.backlog) : result;
}

}  // namespace

handle listen(const endpoint& at, transport how, const listen_options& options,
              std::error_code& error) {
  {
    io_call permitted;
    if (!permitted.enter_foreign(-1, sched::wait_kind::nothing, error) || !suits(at, how, error))
      return {};
  }
  const int fd = sys::socket(static_cast<const sockaddr*>(at.native())->sa_family, SOCK_STREAM);
  if (fd < 0) {
    error.assign(-fd, std::system_category());
    return {};
  }
  handle made(fd);
  const int result = prepare(fd, at, how, options);
  if (result >= 0) return made;
  error.assign(-result, std::system_category());
  return {};
}

handle adopt_listener(handle_type fd) {
  handle made = adopt(fd);
  made.get()->listens_on = true;
  sys::set_non_blocking(fd);
  return made;
}

handle accept(descriptor* listener, std::error_code& error) {
  io_call call;
  if (!call.enter(listener, &descriptor::reading, sched::wait_kind::accept, error)) return {};
  for (;;) {
    const std::int32_t result = call.driver().accept(call);
    if (result >= 0) return handle(result);
    if (is_passed_over(result)) continue;
    if (!call.again(result, error)) return {};
  }
}

}  // namespace io
}  // namespace coir
