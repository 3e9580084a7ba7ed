#include <coir/io/reader.hpp>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <coir/io/errors.hpp>
#include <coir/io/socket_stream.hpp>
#include <coir/sched/this_fiber.hpp>

namespace coir::io {
namespace {

constexpr std::size_t shortest_chunk = 4 * 1024, longest_chunk = 64 * 1024;

using delimiters = std::span<const std::string_view>;

struct match {
  std::size_t begin = std::string_view::npos, end = std::string_view::npos;
};

// The delimiter whose end comes first, beginning at `from` or later.
match first_of(delimiters any, std::string_view text, std::size_t from) noexcept {
  match best;
  for (const std::string_view d : any) {
    const std::size_t at = text.find(d, from);
    if (at != text.npos && at + d.size() < best.end) best = {at, at + d.size()};
  }
  return best;
}

std::size_t longest_of(delimiters any) {
  std::size_t longest = 0;
  for (const std::string_view d : any) {
    if (d.empty()) throw std::invalid_argument("coir: read_until: a delimiter is empty");
    longest = std::max(longest, d.size());
  }
  if (longest == 0) throw std::invalid_argument("coir: read_until: there is no delimiter");
  return longest;
}

}  // namespace

// One call of the user's. While it waits, the buffer's free memory is the kernel's, so nobody else
// may come near the buffer.
class reader_core::call {
 public:
  call(reader_core& of, std::error_code& error) : of_(of) {
    this_fiber::check_cancelled();
    error.clear();
    entered_ = !of.in_use_.exchange(true, std::memory_order_acquire);
    if (!entered_) error = std::make_error_code(std::errc::operation_in_progress);
  }
  call(const call&) = delete;
  call& operator=(const call&) = delete;
  ~call() {
    if (entered_) of_.in_use_.store(false, std::memory_order_release);
  }

  // False: there is nothing to read, because of an error or the end of the stream.
  bool begins(std::error_code& error) const {
    return entered_ && (!of_.dropping_ || of_.drop_rest_of_line(error));
  }

 private:
  reader_core& of_;
  bool entered_;
};

// Waits for more. False: the end, or `error`. A connection that has become quiet waits with a small
// buffer again.
bool reader_core::fill(std::error_code& error) {
  const bool empty = buffer_.empty();
  if (empty && buffer_.capacity() > 2 * chunk_) buffer_ = byte_queue();
  const std::span<std::byte> room = buffer_.room(empty ? chunk_ : chunk_ / 2);
  const std::size_t n = from_.read_some(room, error);
  buffer_.added(n);
  if (n == room.size() || n >= chunk_)
    chunk_ = std::min(2 * chunk_, longest_chunk);
  else if (n < chunk_ / 4)
    chunk_ = std::max(chunk_ / 2, shortest_chunk);
  return n != 0 && !error;
}

bool reader_core::drop_rest_of_line(std::error_code& error) {
  for (;;) {
    const std::size_t at = buffer_.text().find('\n');
    if (at != std::string_view::npos) {
      dropping_ = false;
      buffer_.drop(at + 1);
      return true;
    }
    buffer_.drop(buffer_.size());
    if (fill(error)) continue;
    dropping_ = static_cast<bool>(error);
    return false;
  }
}

std::string reader_core::take(std::size_t n, std::size_t and_drop) {
  std::string taken(buffer_.text().substr(0, n));
  buffer_.drop(n + and_drop);
  return taken;
}

std::size_t reader_core::read_some(std::span<std::byte> into, std::error_code& error) {
  const call c(*this, error);
  if (!c.begins(error) || into.empty()) return 0;
  if (buffer_.empty()) {
    if (into.size() >= chunk_) return from_.read_some(into, error);
    if (!fill(error)) return 0;
  }
  const std::size_t n = std::min(into.size(), buffer_.size());
  std::memcpy(into.data(), buffer_.bytes().data(), n);
  buffer_.drop(n);
  return n;
}

std::string reader_core::read(std::size_t n, std::error_code& error) {
  const call c(*this, error);
  if (!c.begins(error) || n == 0 || (buffer_.empty() && !fill(error))) return {};
  return take(std::min(n, buffer_.size()));
}

std::string reader_core::read_exactly(std::size_t n, std::error_code& error) {
  const call c(*this, error);
  bool more = c.begins(error);
  while (more && buffer_.size() < n) more = fill(error);
  if (!more && !error && n != 0) error = stream_errc::incomplete_read;
  return more ? take(n) : std::string();
}

std::string reader_core::read_all(std::error_code& error) {
  const call c(*this, error);
  if (!c.begins(error)) return {};
  while (fill(error)) {}
  return error ? std::string() : take(buffer_.size());
}

std::optional<std::string> reader_core::read_line(std::error_code& error) {
  const call c(*this, error);
  if (!c.begins(error)) return {};
  for (std::size_t looked_at = 0;;) {
    const std::string_view text = buffer_.text();
    const std::size_t at = text.find('\n', looked_at);
    const bool found = at != text.npos;
    const std::size_t end = found ? at : text.size();
    // A "\r" that has come last may belong to the delimiter.
    const std::size_t length = end != 0 && text[end - 1] == '\r' ? end - 1 : end;
    if (length > limit_) {
      dropping_ = !found;
      buffer_.drop(found ? at + 1 : text.size());
      error = stream_errc::limit_exceeded;
      return {};
    }
    if (found) return take(length, at + 1 - length);
    looked_at = text.size();
    if (fill(error)) continue;
    if (error || buffer_.empty()) return {};
    return take(buffer_.size());
  }
}

std::string reader_core::read_until(delimiters any, std::error_code& error) {
  const std::size_t longest = longest_of(any);
  const call c(*this, error);
  bool more = c.begins(error);
  for (std::size_t looked_at = 0; more;) {
    const std::string_view text = buffer_.text();
    const match found = first_of(any, text, looked_at);
    const bool complete = found.end != text.npos;
    // What may be the beginning of a delimiter does not count.
    looked_at = text.size() - std::min(text.size(), longest - 1);
    if ((complete ? found.begin : looked_at) > limit_) {
      error = stream_errc::limit_exceeded;
      return {};
    }
    if (complete) return take(found.end);
    more = fill(error);
  }
  if (!error) error = stream_errc::incomplete_read;
  return {};
}

// --- the forms that throw ---

void reader_core::check(const std::error_code& error, std::size_t expected) const {
  if (!error) return;
  if (error == stream_errc::incomplete_read) throw incomplete_read(buffer_.size(), expected);
  if (error == stream_errc::limit_exceeded) throw limit_exceeded(limit_);
  throw_error(error, "coir: read");
}

std::size_t reader_core::read_some(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_some(into, error);
  check(error);
  return n;
}
std::string reader_core::read(std::size_t n) {
  std::error_code error;
  std::string got = read(n, error);
  check(error);
  return got;
}
std::string reader_core::read_exactly(std::size_t n) {
  std::error_code error;
  std::string got = read_exactly(n, error);
  check(error, n);
  return got;
}
std::string reader_core::read_all() {
  std::error_code error;
  std::string got = read_all(error);
  check(error);
  return got;
}
std::optional<std::string> reader_core::read_line() {
  std::error_code error;
  std::optional<std::string> got = read_line(error);
  check(error);
  return got;
}
std::string reader_core::read_until(delimiters any) {
  std::error_code error;
  std::string got = read_until(any, error);
  check(error);
  return got;
}

}  // namespace coir::io
