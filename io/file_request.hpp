// One operation on a file, as the ring or a thread of the pool carries it out.
#pragma once
#include <cstddef>
#include <cstdint>

struct statx;

namespace coir::io {

struct file_request {
  enum class kind : std::uint8_t { open, read, write, sync, sync_data, status, resize };
  static constexpr std::uint64_t current_position = ~std::uint64_t{0};

  kind what;
  int fd = -1;
  std::uint64_t offset = 0;        // read, write: or current_position; resize: the size
  void* data = nullptr;            // read, write
  std::size_t size = 0;            // read, write
  const char* path = nullptr;      // open
  int flags = 0;                   // open
  unsigned perms = 0;              // open
  struct statx* status = nullptr;  // status: its size alone is asked for
};

namespace sys {

// The kernel's result, or a negative errno.
std::int32_t run(const file_request&) noexcept;  // blocks its thread
// These two do not. -EAGAIN: it would take a device; -EOPNOTSUPP: the file system cannot say.
std::int32_t read_cached(const file_request&) noexcept;
std::int32_t write_cached(const file_request&) noexcept;
std::int64_t position(int fd) noexcept;  // negative: it has none
void set_position(int fd, std::int64_t) noexcept;
bool is_in_memory(int fd) noexcept;               // the file has no device that could be waited for
int open_temporary(const char* folder) noexcept;  // blocks its thread; a file without a name
std::int64_t send_file(int to, int from, std::int64_t offset, std::size_t count) noexcept;

}  // namespace sys
}  // namespace coir::io
