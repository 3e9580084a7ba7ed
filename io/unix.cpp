#include <coir/io/unix.hpp>

#include <cerrno>
#include <string>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reactor.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

bool is_file(const endpoint& e) noexcept { return !e.path().empty() && e.path().front() != '\0'; }

// A socket file to which nobody answers, left by a process that has died, goes away.
void remove_if_stale(const endpoint& at) {
  const std::string path(at.path());
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0 || !S_ISSOCK(s.st_mode)) return;
  const int fd = io::sys::socket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) return;
  if (io::sys::connect(fd, at.native(), at.native_size()) == -ECONNREFUSED) ::unlink(path.c_str());
  io::sys::close(fd);
}

[[gnu::noinline]] int make_pair(int (&fds)[2]) noexcept {
  return ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno : 0;
}

}  // namespace

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
  int fds[2];
  if (const int result = make_pair(fds); result < 0) {
    error.assign(-result, std::system_category());
    return {};
  }
  error.clear();
  io::handle first;
  try {
    first = io::handle(fds[0]);
  } catch (...) {
    io::sys::close(fds[1]);
    throw;
  }
  return {unix_stream(std::move(first)), unix_stream(io::handle(fds[1]))};
}
std::pair<unix_stream, unix_stream> unix_stream::pair() {
  std::error_code error;
  auto two = pair(error);
  io::check(error, "coir: socketpair");
  return two;
}

unix_listener unix_listener::bind(const endpoint& at, listen_options o, std::error_code& error) {
  if (o.replace_stale && is_file(at)) remove_if_stale(at);
  unix_listener made(io::listen(at, io::transport::unix_domain, o, error));
  struct stat s {};
  if (made.is_open() && is_file(at) && ::lstat(std::string(at.path()).c_str(), &s) == 0)
    made.file_ = {at, s.st_dev, s.st_ino};
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
  remove_file();
  socket_listener::close();
}

void unix_listener::remove_file() noexcept {
  const bound_file file = std::exchange(file_, {});
  if (file.at.path().empty()) return;
  char path[128] = {};
  file.at.path().copy(path, sizeof path - 1);
  struct stat s {};
  if (::lstat(path, &s) == 0 && s.st_dev == file.device && s.st_ino == file.inode) ::unlink(path);
}

}  // namespace coir
