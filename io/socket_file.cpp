#include <coir/io/socket_file.hpp>

#include <cerrno>

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system_calls.hpp"

namespace coir::io {
namespace {

// With its NUL, as system calls want it.
struct path_of {
  explicit path_of(const endpoint& e) noexcept {
    if (!e.path().starts_with('\0')) e.path().copy(text, sizeof text - 1);
  }
  bool empty() const noexcept { return text[0] == '\0'; }
  char text[128] = {};
};

}  // namespace

socket_file::socket_file(const endpoint& bound) noexcept {
  const path_of path(bound);
  struct stat s {};
  if (path.empty() || ::lstat(path.text, &s) != 0) return;
  at_ = bound;
  device_ = s.st_dev;
  inode_ = s.st_ino;
}

void socket_file::remove() noexcept {
  const path_of path(std::exchange(at_, {}));
  struct stat s {};
  if (!path.empty() && ::lstat(path.text, &s) == 0 && s.st_dev == device_ && s.st_ino == inode_)
    ::unlink(path.text);
}

// A live socket of another type answers EPROTOTYPE.
void socket_file::remove_stale(const endpoint& at) noexcept {
  const path_of path(at);
  struct stat s {};
  if (path.empty() || ::lstat(path.text, &s) != 0 || !S_ISSOCK(s.st_mode)) return;
  const int fd = sys::socket(AF_UNIX, SOCK_STREAM);
  if (fd < 0) return;
  if (sys::connect(fd, at.native(), at.native_size()) == -ECONNREFUSED) ::unlink(path.text);
  sys::close(fd);
}

}  // namespace coir::io
