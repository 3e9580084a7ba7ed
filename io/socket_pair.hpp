// Two sockets of the Unix domain that are connected to each other.
#pragma once
#include <system_error>
#include <utility>

#include <sys/socket.h>

#include <coir/io/handle.hpp>

#include "system_calls.hpp"

namespace coir::io {

// `type`: SOCK_STREAM or SOCK_DGRAM. Closed handles and `error` otherwise; throws std::bad_alloc.
inline std::pair<handle, handle> socket_pair(int type, std::error_code& error) {
  int fds[2];
  if (const int result = sys::socket_pair(AF_UNIX, type, fds); result < 0) {
    error.assign(-result, std::system_category());
    return {};
  }
  error.clear();
  handle first;
  try {
    first = handle(fds[0]);
  } catch (...) {
    sys::close(fds[1]);
    throw;
  }
  return {std::move(first), handle(fds[1])};
}

}  // namespace coir::io
