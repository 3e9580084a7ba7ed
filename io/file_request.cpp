#include "file_request.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

namespace coir::io::sys {
namespace {

constexpr std::size_t most = 0x7ffff000;

template <class T>
std::int32_t answer(T result) noexcept {
  return result < 0 ? -errno : static_cast<std::int32_t>(result);
}

std::int32_t read(const file_request& r, std::size_t size) noexcept {
  return answer(r.offset == file_request::current_position
                    ? ::read(r.fd, r.data, size)
                    : ::pread(r.fd, r.data, size, static_cast<off_t>(r.offset)));
}
std::int32_t write(const file_request& r, std::size_t size) noexcept {
  return answer(r.offset == file_request::current_position
                    ? ::write(r.fd, r.data, size)
                    : ::pwrite(r.fd, r.data, size, static_cast<off_t>(r.offset)));
}

// Where the file system knows no files without a name: one that nobody else can open meanwhile, and
// whose name goes at once.
int create_and_unlink(const char* folder) {
  std::string name = std::string(folder) + "/coir-XXXXXX";
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return -errno;
  ::unlink(name.c_str());
  return fd;
}

}  // namespace

[[gnu::noinline]] std::int32_t run(const file_request& r) noexcept {
  using kind = file_request::kind;
  const std::size_t size = std::min(r.size, most);
  switch (r.what) {
    case kind::open:
      return answer(::open(r.path, r.flags, static_cast<mode_t>(r.perms)));
    case kind::read:
      return read(r, size);
    case kind::write:
      return write(r, size);
    case kind::sync:
      return answer(::fsync(r.fd));
    case kind::sync_data:
      return answer(::fdatasync(r.fd));
    case kind::status:
      return answer(::statx(r.fd, "", AT_EMPTY_PATH, STATX_SIZE, r.status));
    case kind::resize:
      return answer(::ftruncate(r.fd, static_cast<off_t>(r.offset)));
  }
  return -EINVAL;
}

[[gnu::noinline]] std::int32_t read_cached(const file_request& r) noexcept {
  const iovec part{r.data, std::min(r.size, most)};
  return answer(::preadv2(r.fd, &part, 1, static_cast<off_t>(r.offset), RWF_NOWAIT));
}

[[gnu::noinline]] std::int32_t write_cached(const file_request& r) noexcept {
  const iovec part{r.data, std::min(r.size, most)};
  return answer(::pwritev2(r.fd, &part, 1, static_cast<off_t>(r.offset), RWF_NOWAIT));
}

[[gnu::noinline]] std::int64_t position(int fd) noexcept { return ::lseek(fd, 0, SEEK_CUR); }
[[gnu::noinline]] void set_position(int fd, std::int64_t at) noexcept {
  ::lseek(fd, static_cast<off_t>(at), SEEK_SET);
}

[[gnu::noinline]] bool is_in_memory(int fd) noexcept {
  struct statfs s {};
  return ::fstatfs(fd, &s) == 0 && (s.f_type == TMPFS_MAGIC || s.f_type == RAMFS_MAGIC);
}

[[gnu::noinline]] int open_temporary(const char* folder) noexcept {
  const int fd = ::open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  const int error = errno;
  if (error != EOPNOTSUPP && error != EISDIR && error != EINVAL) return -error;
  try {
    return create_and_unlink(folder);
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
}

[[gnu::noinline]] std::int64_t send_file(int to, int from, std::int64_t offset,
                                         std::size_t count) noexcept {
  off_t at = offset;
  const ssize_t n = ::sendfile(to, from, &at, std::min(count, most));
  return n < 0 ? -errno : n;
}

}  // namespace coir::io::sys
