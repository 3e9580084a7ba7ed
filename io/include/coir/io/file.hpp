// Files on disk.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <coir/io/char_range.hpp>
#include <coir/io/stream.hpp>

namespace coir {

namespace io {
struct open_file;
}

// One or several of these. append: every write goes to the end, and implies write. direct:
// O_DIRECT.
enum class open_mode : unsigned {
  read = 1,
  write = 2,
  append = 4,
  create = 8,
  truncate = 16,
  exclusive = 32,  // with create: file_exists if it is there
  direct = 64,
};
constexpr open_mode operator|(open_mode a, open_mode b) noexcept {
  return static_cast<open_mode>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr open_mode operator&(open_mode a, open_mode b) noexcept {
  return static_cast<open_mode>(static_cast<unsigned>(a) & static_cast<unsigned>(b));
}

// A regular file or a block device; for pipes and terminals see pipe_stream. Every call that can
// fail has two forms, as descriptor_stream's do. What the kernel cannot do at once is done by the
// ring, or by a thread of the pool (options::blocking_threads), while other fibers run. The kernel
// does not interrupt what it does with a file: a call that is cancelled or timed out returns when
// that has ended, and its buffer is untouched afterwards. read_at and write_at: any number of
// fibers at once; of those that move the position, a second at a time gets operation_in_progress. A
// byte_stream.
class file {
 public:
  file() noexcept;
  file(file&&) noexcept;
  file& operator=(file&&) noexcept;
  ~file();

  // The kernel's errors; a path with a NUL, or a mode that makes no sense, is
  // std::invalid_argument. A call that is cancelled leaves nothing open, but may have created the
  // file.
  static file open(const std::string& path, open_mode = open_mode::read, unsigned perms = 0644);
  static file open(const std::string& path, open_mode, unsigned perms, std::error_code&);
  static file open(const std::string& path, open_mode m, std::error_code& e) {
    return open(path, m, 0644, e);
  }
  // For reading and writing, without a name, so that it goes when it is closed; in that folder, or
  // in that of TMPDIR, or in /tmp.
  static file temporary(const std::string& folder = {});
  static file temporary(const std::string& folder, std::error_code&);
  static file adopt(handle_type);  // takes it over, close-on-exec; std::system_error if it is none

  // Fills the buffer from there on, unless the file ends first; how much it was. The position
  // stays.
  std::size_t read_at(std::span<std::byte> into, std::uint64_t offset);
  std::size_t read_at(std::span<std::byte> into, std::uint64_t offset, std::error_code&);
  std::size_t read_at(std::span<char> into, std::uint64_t offset) {
    return read_at(std::as_writable_bytes(into), offset);
  }
  std::size_t read_at(std::span<char> into, std::uint64_t offset, std::error_code& e) {
    return read_at(std::as_writable_bytes(into), offset, e);
  }
  // All of it; with an error: how much. With open_mode::append it goes to the end all the same.
  std::size_t write_at(std::span<const std::byte> from, std::uint64_t offset);
  std::size_t write_at(std::span<const std::byte> from, std::uint64_t offset, std::error_code&);
  std::size_t write_at(std::string_view from, std::uint64_t offset) {
    return write_at(std::as_bytes(std::span(from)), offset);
  }
  std::size_t write_at(std::string_view from, std::uint64_t offset, std::error_code& e) {
    return write_at(std::as_bytes(std::span(from)), offset, e);
  }
  template <io::char_range R, class... E>
  std::size_t write_at(const R& from, std::uint64_t offset, E&... error) {
    return write_at(io::text_of(from), offset, error...);
  }

  // At the position, which moves. 0: the end.
  std::size_t read_some(std::span<std::byte> into);
  std::size_t read_some(std::span<std::byte> into, std::error_code&);
  std::size_t read_some(std::span<char> into) { return read_some(std::as_writable_bytes(into)); }
  std::size_t read_some(std::span<char> into, std::error_code& e) {
    return read_some(std::as_writable_bytes(into), e);
  }
  std::size_t write_some(std::span<const std::byte> from);
  std::size_t write_some(std::span<const std::byte> from, std::error_code&);
  std::size_t write_some(std::string_view from) {
    return write_some(std::as_bytes(std::span(from)));
  }
  std::size_t write_some(std::string_view from, std::error_code& e) {
    return write_some(std::as_bytes(std::span(from)), e);
  }
  template <io::char_range R, class... E>
  std::size_t write_some(const R& from, E&... error) {
    return write_some(io::text_of(from), error...);
  }
  void write(std::span<const std::byte> from);  // all of it; the second form: how much
  std::size_t write(std::span<const std::byte> from, std::error_code&);
  void write(std::string_view from) { write(std::as_bytes(std::span(from))); }
  std::size_t write(std::string_view from, std::error_code& e) {
    return write(std::as_bytes(std::span(from)), e);
  }
  template <io::char_range R, class... E>
  auto write(const R& from, E&... error) {
    return write(io::text_of(from), error...);
  }

  void sync();  // what was written is on the device: fsync(2)
  void sync(std::error_code&);
  void sync_data();  // the same without times and the like: fdatasync(2)
  void sync_data(std::error_code&);
  std::uint64_t size() const;
  std::uint64_t size(std::error_code&) const;
  void truncate(std::uint64_t size);  // or grow, with zeros
  void truncate(std::uint64_t size, std::error_code&);

  void shutdown_write() noexcept {}  // there is nobody to tell
  void shutdown_write(std::error_code& e) noexcept { e.clear(); }
  // Calls in flight end with operation_canceled, or with their result if that comes first; waits,
  // shielded, for these only. What the kernel is at with a file it does not interrupt, and it has
  // the caller's buffer: that is waited for, 8 MiB at most. So is what a thread of the pool waits
  // for. Any fiber, any thread; idempotent. Errors of delayed writing show themselves in sync().
  void close() noexcept;
  bool is_open() const noexcept;
  handle_type native_handle() const noexcept;  // -1: closed
  handle_type release() noexcept;              // the caller's now; waits as close() does

  io::open_file* peek() const noexcept { return file_.get(); }  // for the library; null: none

 private:
  explicit file(std::unique_ptr<io::open_file>) noexcept;

  std::unique_ptr<io::open_file> file_;  // stays until the destructor; null: never opened
};

}  // namespace coir
