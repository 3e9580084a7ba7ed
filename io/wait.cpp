#include <coir/io/wait.hpp>

#include <poll.h>

#include <coir/io/socket_stream.hpp>

#include "reactor.hpp"

namespace coir {
namespace {

void wait_for(handle_type fd, short events, sched::wait_kind kind, std::error_code& error) {
  io::io_call call;
  if (!call.enter_foreign(fd, kind, error)) return;
  for (;;) {
    const std::int32_t result = call.driver().wait_for(call, events);
    if (result == 0 || !call.again(result, error)) return;
  }
}

}  // namespace

void wait_readable(handle_type fd, std::error_code& error) {
  wait_for(fd, POLLIN, sched::wait_kind::readable, error);
}
void wait_readable(handle_type fd) {
  std::error_code error;
  wait_readable(fd, error);
  io::check(error, "coir: wait_readable");
}
void wait_writable(handle_type fd, std::error_code& error) {
  wait_for(fd, POLLOUT, sched::wait_kind::writable, error);
}
void wait_writable(handle_type fd) {
  std::error_code error;
  wait_writable(fd, error);
  io::check(error, "coir: wait_writable");
}

}  // namespace coir
