#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <coir/sched/scope.hpp>

#include "addresses.hpp"
#include "reactor.hpp"
#include "system_calls.hpp"

namespace coir::io {

handle connect(const endpoint& to, transport how, std::error_code& error) {
  {
    io_call permitted;  // before a descriptor is spent
    if (!permitted.enter_foreign(-1, sched::wait_kind::connect, error) || !suits(to, how, error))
      return {};
  }
  const int fd = sys::socket(static_cast<const sockaddr*>(to.native())->sa_family, SOCK_STREAM);
  if (fd < 0) {
    error.assign(-fd, std::system_category());
    return {};
  }
  handle made(fd);
  // As asyncio does: what is written leaves at once.
  if (how == transport::tcp) sys::set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  {
    io_call call;
    if (!call.enter(made.get(), &descriptor::writing, sched::wait_kind::connect, error)) return {};
    for (;;) {
      const std::int32_t result = call.driver().connect(call, to.native(), to.native_size());
      if (result == 0) return made;
      if (!call.again(result, error)) break;
    }
  }
  return {};
}

handle adopt(handle_type fd) {
  if (const int result = sys::set_close_on_exec(fd); result < 0)
    throw std::system_error(-result, std::system_category(), "coir: adopt");
  return handle(fd);
}

const char* remedy_for(const std::error_code& error) noexcept {
  const bool refused = error == std::make_error_code(std::errc::operation_not_permitted);
  return refused && !sched::on_fiber()
             ? " on a plain thread: I/O needs a fiber, so call it inside coir::run"
             : "";
}
void throw_error(const std::error_code& error, const std::string& what) {
  throw std::system_error(error, what + remedy_for(error));
}

}  // namespace coir::io
