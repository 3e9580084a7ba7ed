#include "addresses.hpp"

#include <cerrno>

#include <sys/socket.h>

namespace coir::io {
namespace {

using question = int (*)(int, sockaddr*, socklen_t*) noexcept;

[[gnu::noinline]] endpoint ask(question of_kernel, handle_type fd, std::error_code& error) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (of_kernel(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0) {
    error.assign(errno, std::system_category());
    return {};
  }
  error.clear();
  return endpoint::from_native(&address, size);
}

}  // namespace

endpoint local_address(handle_type fd, std::error_code& error) {
  return ask(&::getsockname, fd, error);
}
endpoint remote_address(handle_type fd, std::error_code& error) {
  return ask(&::getpeername, fd, error);
}

bool suits(const endpoint& e, transport t, std::error_code& error) {
  const bool of_unix = e.kind() == endpoint::family::unix_domain;
  if (e.kind() != endpoint::family::none && of_unix == (t == transport::unix_domain)) return true;
  error = std::make_error_code(std::errc::address_family_not_supported);
  return false;
}

}  // namespace coir::io
