#include <coir/io/file.hpp>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>

#include <fcntl.h>
#include <sys/stat.h>

#include <coir/io/descriptor_stream.hpp>

#include "file_calls.hpp"
#include "open_file.hpp"
#include "run_blocking.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

using io::file_request;
using kind = file_request::kind;
using place = io::file_call::place;

bool has(open_mode all, open_mode one) noexcept { return (all & one) == one; }

int flags_of(open_mode m) {
  const bool writes = has(m, open_mode::write) || has(m, open_mode::append);
  if (!writes && !has(m, open_mode::read))
    throw std::invalid_argument("coir: a file is opened to read, to write or to append");
  if (!writes && has(m, open_mode::truncate))
    throw std::invalid_argument("coir: truncating a file is writing");
  if (has(m, open_mode::exclusive) && !has(m, open_mode::create))
    throw std::invalid_argument("coir: open_mode::exclusive is for create");
  int flags = O_CLOEXEC | (!writes ? O_RDONLY : has(m, open_mode::read) ? O_RDWR : O_WRONLY);
  if (has(m, open_mode::append)) flags |= O_APPEND;
  if (has(m, open_mode::create)) flags |= O_CREAT;
  if (has(m, open_mode::truncate)) flags |= O_TRUNC;
  if (has(m, open_mode::exclusive)) flags |= O_EXCL;
  if (has(m, open_mode::direct)) flags |= O_DIRECT;
  return flags;
}

void refuse_nul(const std::string& path) {
  if (path.find('\0') != std::string::npos) throw std::invalid_argument("coir: a NUL in a path");
}

std::unique_ptr<io::open_file> own(handle_type fd, int flags) {
  try {
    return std::make_unique<io::open_file>(fd, flags);
  } catch (const std::bad_alloc&) {
    io::sys::close(fd);
    throw;
  }
}

// One operation that moves nothing.
std::int32_t call(io::open_file* f, file_request r, std::error_code& error) {
  io::file_call c;
  return c.enter(f, place::given, error) ? c.run(r, error) : 0;
}

std::size_t move_all(io::open_file* f, place where, file_request r, std::error_code& error) {
  io::file_call c;
  return c.enter(f, where, error) ? c.run_all(r, error) : 0;
}
std::size_t move_some(io::open_file* f, file_request r, std::error_code& error) {
  io::file_call c;
  if (!c.enter(f, place::position, error) || r.size == 0) return 0;
  return static_cast<std::size_t>(c.run(r, error));
}

file_request reading(std::span<std::byte> into, std::uint64_t offset) noexcept {
  return {.what = kind::read, .offset = offset, .data = into.data(), .size = into.size()};
}
file_request writing(std::span<const std::byte> from, std::uint64_t offset) noexcept {
  return {.what = kind::write,
          .offset = offset,
          .data = const_cast<std::byte*>(from.data()),
          .size = from.size()};
}

// The kernel says "invalid argument" to an operation that O_DIRECT does not allow.
void check(const io::open_file* f, const std::error_code& error, const char* what) {
  if (!error) return;
  std::string text = std::string("coir: ") + what;
  if (f != nullptr && f->direct && error == std::errc::invalid_argument)
    text +=
        " of a file with open_mode::direct, whose buffers, sizes and offsets have to be multiples "
        "of its block size";
  io::throw_error(error, text);
}

}  // namespace

file::file() noexcept = default;
file::file(std::unique_ptr<io::open_file> f) noexcept : file_(std::move(f)) {}
file::file(file&&) noexcept = default;
file& file::operator=(file&& other) noexcept {
  if (this != &other) {
    close();
    file_ = std::move(other.file_);
  }
  return *this;
}
file::~file() { close(); }

file file::open(const std::string& path, open_mode mode, unsigned perms, std::error_code& error) {
  refuse_nul(path);
  const file_request r{
      .what = kind::open, .path = path.c_str(), .flags = flags_of(mode), .perms = perms};
  io::io_call c;
  if (!c.enter_foreign(0, sched::wait_kind::file, error)) return {};
  for (;;) {
    const std::int32_t result = io::run_request(c, r);
    if (result >= 0) return file(own(result, r.flags));
    if (!c.again(result, error)) return {};
  }
}
file file::open(const std::string& path, open_mode mode, unsigned perms) {
  std::error_code error;
  file f = open(path, mode, perms, error);
  if (error) io::throw_error(error, "coir: open " + path);
  return f;
}

file file::temporary(const std::string& folder, std::error_code& error) {
  refuse_nul(folder);
  io::io_call permitted;
  if (!permitted.enter_foreign(0, sched::wait_kind::file, error)) return {};
  const char* const usual = std::getenv("TMPDIR");
  const std::string where = !folder.empty() ? folder : usual != nullptr ? usual : "/tmp";
  const int result = io::run_blocking([&] { return io::sys::open_temporary(where.c_str()); });
  if (result >= 0) return file(own(result, 0));
  error.assign(-result, std::system_category());
  return {};
}
file file::temporary(const std::string& folder) {
  std::error_code error;
  file f = temporary(folder, error);
  io::check(error, "coir: temporary file");
  return f;
}

file file::adopt(handle_type fd) {
  const int flags = io::sys::set_close_on_exec(fd) < 0 ? -EBADF : io::sys::open_flags(fd);
  if (flags < 0) throw std::system_error(-flags, std::system_category(), "coir: adopt");
  return file(own(fd, flags));
}

std::size_t file::read_at(std::span<std::byte> into, std::uint64_t offset, std::error_code& error) {
  return move_all(file_.get(), place::given, reading(into, offset), error);
}
std::size_t file::read_at(std::span<std::byte> into, std::uint64_t offset) {
  std::error_code error;
  const std::size_t n = read_at(into, offset, error);
  return check(file_.get(), error, "read_at"), n;
}
std::size_t file::write_at(std::span<const std::byte> from, std::uint64_t offset,
                           std::error_code& error) {
  return move_all(file_.get(), place::given, writing(from, offset), error);
}
std::size_t file::write_at(std::span<const std::byte> from, std::uint64_t offset) {
  std::error_code error;
  const std::size_t n = write_at(from, offset, error);
  return check(file_.get(), error, "write_at"), n;
}

std::size_t file::read_some(std::span<std::byte> into, std::error_code& error) {
  return move_some(file_.get(), reading(into, file_request::current_position), error);
}
std::size_t file::read_some(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_some(into, error);
  return check(file_.get(), error, "read"), n;
}
std::size_t file::write_some(std::span<const std::byte> from, std::error_code& error) {
  return move_some(file_.get(), writing(from, file_request::current_position), error);
}
std::size_t file::write_some(std::span<const std::byte> from) {
  std::error_code error;
  const std::size_t n = write_some(from, error);
  return check(file_.get(), error, "write"), n;
}
std::size_t file::write(std::span<const std::byte> from, std::error_code& error) {
  return move_all(file_.get(), place::position, writing(from, file_request::current_position),
                  error);
}
void file::write(std::span<const std::byte> from) {
  std::error_code error;
  write(from, error);
  check(file_.get(), error, "write");
}

void file::sync(std::error_code& error) { call(file_.get(), {.what = kind::sync}, error); }
void file::sync() {
  std::error_code error;
  sync(error);
  io::check(error, "coir: sync");
}
void file::sync_data(std::error_code& error) {
  call(file_.get(), {.what = kind::sync_data}, error);
}
void file::sync_data() {
  std::error_code error;
  sync_data(error);
  io::check(error, "coir: sync_data");
}

std::uint64_t file::size(std::error_code& error) const {
  struct statx s {};
  call(file_.get(), {.what = kind::status, .status = &s}, error);
  return error ? 0 : s.stx_size;
}
std::uint64_t file::size() const {
  std::error_code error;
  const std::uint64_t n = size(error);
  io::check(error, "coir: size");
  return n;
}

void file::truncate(std::uint64_t size, std::error_code& error) {
  call(file_.get(), {.what = kind::resize, .offset = size}, error);
}
void file::truncate(std::uint64_t size) {
  std::error_code error;
  truncate(size, error);
  io::check(error, "coir: truncate");
}

void file::close() noexcept {
  if (file_ != nullptr) file_->end(true);
}
bool file::is_open() const noexcept { return file_ != nullptr && !file_->is_closing(); }
handle_type file::native_handle() const noexcept { return is_open() ? file_->fd : -1; }
handle_type file::release() noexcept { return file_ == nullptr ? -1 : file_->end(false); }

}  // namespace coir
