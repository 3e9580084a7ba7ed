// What the streams of descriptors have in common: sockets, pipes, terminals.
#pragma once
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <coir/io/char_range.hpp>
#include <coir/io/handle.hpp>
#include <coir/io/stream.hpp>
#include <coir/sched/clock.hpp>

namespace coir {

// Every call that can fail has two forms: one throws std::system_error, the other takes an
// std::error_code& last. Both throw coir::cancelled. A call parks the calling fiber, and other
// fibers run; on a plain thread it gives operation_not_permitted. Reading is safe against writing
// from another fiber; two readers, or two writers, at once get operation_in_progress. Nothing
// raises SIGPIPE. A default-constructed stream is closed: bad_file_descriptor.
class descriptor_stream {
 public:
  // Waits for some bytes; how many came. 0: the end of the stream, or an empty buffer.
  std::size_t read_some(std::span<std::byte> into);
  std::size_t read_some(std::span<std::byte> into, std::error_code&);
  std::size_t read_some(std::span<char> into) { return read_some(std::as_writable_bytes(into)); }
  std::size_t read_some(std::span<char> into, std::error_code& e) {
    return read_some(std::as_writable_bytes(into), e);
  }

  // Fills the buffer. At the end of the stream coir::incomplete_read
  // (stream_errc::incomplete_read); the second form returns how many bytes came.
  void read_exactly(std::span<std::byte> into);
  std::size_t read_exactly(std::span<std::byte> into, std::error_code&);
  void read_exactly(std::span<char> into) { read_exactly(std::as_writable_bytes(into)); }
  std::size_t read_exactly(std::span<char> into, std::error_code& e) {
    return read_exactly(std::as_writable_bytes(into), e);
  }

  // Waits until some bytes can be sent; how many were. 0 only for an empty buffer or an error.
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

  // Sends all of it; of several buffers, one after the other. The second form returns how many
  // bytes went out.
  void write(std::span<const std::byte> from);
  std::size_t write(std::span<const std::byte> from, std::error_code&);
  void write(std::string_view from) { write(std::as_bytes(std::span(from))); }
  std::size_t write(std::string_view from, std::error_code& e) {
    return write(std::as_bytes(std::span(from)), e);
  }
  template <io::char_range R, class... E>
  auto write(const R& from, E&... error) {
    return write(io::text_of(from), error...);
  }
  void write(std::span<const std::span<const std::byte>> from);
  std::size_t write(std::span<const std::span<const std::byte>> from, std::error_code&);

  // From then on calls give timed_out, the one in flight included. max(): none. Any fiber, any
  // thread.
  template <class Duration>
  void set_read_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    set_deadline(true, sched::deadline_at(t));
  }
  template <class Duration>
  void set_write_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    set_deadline(false, sched::deadline_at(t));
  }

  // Since the stream was made; exact after any error, timeout or cancellation. Any fiber, any
  // thread.
  std::uint64_t bytes_read() const noexcept;
  std::uint64_t bytes_written() const noexcept;

  // Calls in flight end with operation_canceled; waits, shielded, for these only. Any fiber, any
  // thread; idempotent.
  void close() noexcept { handle_.close(); }
  bool is_open() const noexcept { return handle_.is_open(); }

  handle_type native_handle() const noexcept { return handle_.native(); }  // -1: closed
  // The descriptor now belongs to the caller, and the stream is closed. Calls in flight end as in
  // close().
  handle_type release() noexcept { return handle_.release(); }

  io::descriptor* peek() const noexcept { return handle_.get(); }  // for the library; null: none

 protected:
  descriptor_stream() noexcept = default;
  explicit descriptor_stream(io::handle h) noexcept : handle_(std::move(h)) {}

  io::handle handle_;

 private:
  void set_deadline(bool reading, clock::time_point);
};

namespace io {

// For the text of that error: what a plain thread has to do; else nothing.
const char* remedy_for(const std::error_code& error) noexcept;
// Throws what a call of the second form has left in `error`.
[[noreturn]] void throw_error(const std::error_code& error, const std::string& what);
inline void check(const std::error_code& error, const char* what) {
  if (error) [[unlikely]]
    throw_error(error, what);
}

}  // namespace io
}  // namespace coir
