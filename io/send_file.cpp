#include <coir/io/send_file.hpp>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>

#include <fcntl.h>
#include <poll.h>

#include "file_calls.hpp"
#include "open_file.hpp"
#include "reactor.hpp"
#include "run_blocking.hpp"

namespace coir {
namespace {

using io::file_request;
using io::io_call;

// So long a thread of the pool may be busy with one file, and a cancellation wait.
constexpr std::size_t most_at_once = 1024 * 1024;
constexpr std::size_t copy_at_once = 64 * 1024;

// One transfer: what has been sent, and what is left. `error` ends it.
struct transfer {
  io_call& to;
  io::file_call& from;
  handle_type file;
  std::uint64_t offset;
  std::size_t left;
  std::size_t done = 0;
  std::error_code& error;

  // Whether to go on: closed, cancelled or past the deadline it is over, also between two parts.
  bool goes_on() { return left != 0 && to.again(-EAGAIN, error); }
  void moved(std::size_t n) noexcept {
    to.moved(n);
    done += n;
    offset += n;
    left -= n;
  }
};

bool cannot(std::int64_t result) noexcept {
  return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP;
}

// sendfile(2) blocks for the disk, so it gets a thread; the socket is O_NONBLOCK, so it does not
// block for the peer. False: it does not work for these two.
bool by_the_kernel(transfer& t) {
  while (t.goes_on()) {
    const std::int64_t n = io::run_blocking([&t] {
      return io::sys::send_file(t.to.fd(), t.file, static_cast<std::int64_t>(t.offset),
                                std::min(t.left, most_at_once));
    });
    if (cannot(n) && t.done == 0) return false;
    if (n > 0) {
      t.moved(static_cast<std::size_t>(n));
    } else if (n == 0) {
      break;  // the file ends here
    } else {
      const std::int32_t result =
          n == -EAGAIN ? t.to.driver().wait_for(t.to, POLLOUT) : static_cast<std::int32_t>(n);
      if (result < 0 && !t.to.again(result, t.error)) break;
    }
  }
  return true;
}

bool send_all(transfer& t, std::span<const std::byte> part) {
  while (!part.empty()) {
    const std::int32_t n = t.to.driver().send(t.to, part);
    if (n >= 0) {
      t.moved(static_cast<std::size_t>(n));
      part = part.subspan(static_cast<std::size_t>(n));
    } else if (!t.to.again(n, t.error)) {
      return false;
    }
  }
  return true;
}

void by_hand(transfer& t) {
  const auto buffer = std::make_unique<std::byte[]>(copy_at_once);
  while (t.goes_on()) {
    const std::int32_t n = t.from.run({.what = file_request::kind::read,
                                       .offset = t.offset,
                                       .data = buffer.get(),
                                       .size = std::min(t.left, copy_at_once)},
                                      t.error);
    if (n <= 0 || !send_all(t, {buffer.get(), static_cast<std::size_t>(n)})) break;
  }
}

}  // namespace

std::size_t send_file(socket_stream& to, file& from, std::uint64_t offset, std::size_t count,
                      std::error_code& error) {
  io_call call;
  io::file_call reading;
  if (!call.enter(to.peek(), &io::descriptor::writing, sched::wait_kind::write, error) ||
      !reading.enter(from.peek(), io::file_call::place::given, error))
    return 0;
  constexpr std::uint64_t last = std::numeric_limits<std::int64_t>::max();
  if (offset > last) {
    error = std::make_error_code(std::errc::invalid_argument);
    return 0;
  }
  if (const std::int32_t refused = call.hold(); refused != 0) {
    call.again(refused, error);
    return 0;
  }
  const std::size_t room = static_cast<std::size_t>(std::min<std::uint64_t>(count, last - offset));
  transfer t{call, reading, from.peek()->fd, offset, room, 0, error};
  const bool non_blocking = (io::sys::open_flags(call.fd()) & O_NONBLOCK) != 0;
  if (!non_blocking || !by_the_kernel(t)) by_hand(t);
  return t.done;
}
std::size_t send_file(socket_stream& to, file& from, std::uint64_t offset, std::size_t count) {
  std::error_code error;
  const std::size_t n = send_file(to, from, offset, count, error);
  io::check(error, "coir: send_file");
  return n;
}

}  // namespace coir
