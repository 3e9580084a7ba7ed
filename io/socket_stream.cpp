#include <coir/io/socket_stream.hpp>

#include <cerrno>
#include <string>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "addresses.hpp"
#include "system_calls.hpp"

namespace coir {

void socket_stream::shutdown_write(std::error_code& error) {
  const int result = io::sys::shutdown(handle_.native(), SHUT_WR);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}
void socket_stream::shutdown_write() {
  std::error_code error;
  shutdown_write(error);
  io::check(error, "coir: shutdown_write");
}

endpoint socket_stream::local(std::error_code& error) const {
  return io::local_address(handle_.native(), error);
}
endpoint socket_stream::local() const {
  std::error_code error;
  endpoint e = local(error);
  io::check(error, "coir: local");
  return e;
}
endpoint socket_stream::remote(std::error_code& error) const {
  return io::remote_address(handle_.native(), error);
}
endpoint socket_stream::remote() const {
  std::error_code error;
  endpoint e = remote(error);
  io::check(error, "coir: remote");
  return e;
}

void socket_stream::set_option(int level, int name, int value, std::error_code& error) {
  const int result = io::sys::set_option(handle_.native(), level, name, value);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}

}  // namespace coir
