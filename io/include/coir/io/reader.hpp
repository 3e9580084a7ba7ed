// Buffered reading: lines, messages up to a delimiter, everything to the end
// (asyncio.StreamReader).
#pragma once
#include <atomic>
#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <coir/io/byte_queue.hpp>
#include <coir/io/char_range.hpp>
#include <coir/io/stream_view.hpp>

namespace coir {
namespace io {

// What of a reader does not depend on the type of its stream.
//
// A call waits, as the stream's read_some does, until it has what it was asked for; more than that
// may be read from the stream, and is kept. Each call has two forms, as in socket_stream: one
// throws (std::system_error for the stream's own errors), one has an std::error_code& last and then
// returns nothing (an empty string, nullopt). Both throw coir::cancelled. A call that fails has
// taken nothing, so that after an end, a timeout or a cancellation what had come can still be read.
// The one exception is a line over the limit. A fiber, one call at a time: a second one gets
// operation_in_progress. What is buffered already can be read on any thread.
class reader_core {
 public:
  // Some bytes: those that are buffered, or else those that come next. 0: the end.
  std::size_t read_some(std::span<std::byte> into);
  std::size_t read_some(std::span<std::byte> into, std::error_code&);
  std::size_t read_some(std::span<char> into) { return read_some(std::as_writable_bytes(into)); }
  std::size_t read_some(std::span<char> into, std::error_code& e) {
    return read_some(std::as_writable_bytes(into), e);
  }

  // The same, up to n of them; empty: the end, or n is 0.
  std::string read(std::size_t n);
  std::string read(std::size_t n, std::error_code&);

  // n bytes, or coir::incomplete_read (stream_errc::incomplete_read). Memory is taken as they come.
  std::string read_exactly(std::size_t n);
  std::string read_exactly(std::size_t n, std::error_code&);

  // All to the end of the stream.
  std::string read_all();
  std::string read_all(std::error_code&);

  // A line, without its "\n" or "\r\n"; at the end of the stream what is left, and then nullopt. A
  // line longer than the limit gives coir::limit_exceeded (stream_errc::limit_exceeded), as soon as
  // that is known, and is dropped: the next call, whichever it is, begins behind it.
  std::optional<std::string> read_line();
  std::optional<std::string> read_line(std::error_code&);

  // Everything up to the delimiter, with it. Of several delimiters the one that ends first wins.
  // coir::incomplete_read at the end of the stream, coir::limit_exceeded if more than the limit
  // stands before the delimiter; it can still be read. std::invalid_argument: no delimiter, or an
  // empty one.
  std::string read_until(std::string_view delimiter) {
    return read_until(std::span<const std::string_view>(&delimiter, 1));
  }
  std::string read_until(std::string_view delimiter, std::error_code& e) {
    return read_until(std::span<const std::string_view>(&delimiter, 1), e);
  }
  std::string read_until(std::initializer_list<std::string_view> any) {
    return read_until(std::span(any.begin(), any.size()));
  }
  std::string read_until(std::initializer_list<std::string_view> any, std::error_code& e) {
    return read_until(std::span(any.begin(), any.size()), e);
  }
  std::string read_until(std::span<const std::string_view> any);
  std::string read_until(std::span<const std::string_view> any, std::error_code&);
  template <io::string_range R, class... E>  // a vector of std::string and the like
  std::string read_until(const R& any, E&... error) {
    const std::vector<std::string_view> views(std::ranges::begin(any), std::ranges::end(any));
    return read_until(std::span(views), error...);
  }
  std::string read_until(char delimiter) { return read_until(std::string_view(&delimiter, 1)); }
  std::string read_until(char delimiter, std::error_code& e) {
    return read_until(std::string_view(&delimiter, 1), e);
  }

  std::size_t buffered() const noexcept { return buffer_.size(); }  // bytes that need no waiting
  std::size_t limit() const noexcept { return limit_; }

 protected:
  reader_core(stream_view from, std::size_t limit) noexcept : from_(from), limit_(limit) {}
  // Nobody reads from it now.
  reader_core(reader_core&& other) noexcept
      : from_(other.from_),
        buffer_(std::move(other.buffer_)),
        limit_(other.limit_),
        chunk_(other.chunk_),
        dropping_(other.dropping_) {}
  ~reader_core() = default;

 private:
  class call;

  bool fill(std::error_code&);
  bool drop_rest_of_line(std::error_code&);
  std::string take(std::size_t n, std::size_t and_drop = 0);
  void check(const std::error_code&, std::size_t expected = 0) const;

  stream_view from_;
  byte_queue buffer_;
  std::size_t limit_;
  std::size_t chunk_ = 4096;  // asked for at once; grows and shrinks with what comes
  bool dropping_ = false;     // up to the next "\n"
  std::atomic<bool> in_use_{false};
};

}  // namespace io

// Borrows the stream, which outlives it and is not read otherwise as long as something is buffered.
// `limit`: bytes of a line, or before a delimiter; the other calls have none.
template <byte_source S>
class reader : public io::reader_core {
 public:
  explicit reader(S& stream, std::size_t limit = 64 * 1024) noexcept
      : reader_core(io::stream_view(stream), limit) {}
  reader(reader&&) noexcept = default;
};

}  // namespace coir
