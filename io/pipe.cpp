#include <coir/io/pipe.hpp>

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "descriptor.hpp"
#include "file_calls.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

using io::medium;

[[noreturn]] void refuse(int error, const char* what) {
  throw std::system_error(error, std::system_category(), what);
}

// Gives the number a description of its own, which may then be O_NONBLOCK.
bool make_private(handle_type fd) noexcept {
  const int own = io::sys::reopen_non_blocking(fd);
  if (own < 0) return false;
  const bool replaced = io::sys::replace(fd, own) >= 0;
  io::sys::close(own);
  return replaced;
}

medium medium_of(handle_type fd) {
  switch (io::sys::kind_of(fd)) {
    case io::sys::file_kind::fifo:
    case io::sys::file_kind::terminal:
      return make_private(fd) ? medium::pipe : medium::shared;
    case io::sys::file_kind::regular:
      return medium::regular;
    case io::sys::file_kind::other:
      return medium::shared;
    case io::sys::file_kind::bad:
      break;
  }
  refuse(EBADF, "coir: adopt");
}

pipe_stream standard(handle_type number, const char* what) {
  const int copy = io::sys::duplicate_high(number);
  if (copy < 0) refuse(-copy, what);
  return pipe_stream::adopt(copy);
}

}  // namespace

pipe_stream pipe_stream::adopt(handle_type fd) {
  if (const int result = io::sys::set_close_on_exec(fd); result < 0) refuse(-result, "coir: adopt");
  return pipe_stream(io::handle(fd, medium_of(fd)));
}

void pipe_stream::shutdown_write(std::error_code& error) {
  const int flags = io::sys::open_flags(handle_.native());
  error.clear();
  if (flags < 0)
    error.assign(-flags, std::system_category());
  else if ((flags & O_ACCMODE) == O_WRONLY)
    close();
  else
    error =
        std::make_error_code((flags & O_ACCMODE) == O_RDONLY ? std::errc::bad_file_descriptor
                                                             : std::errc::operation_not_supported);
}
void pipe_stream::shutdown_write() {
  std::error_code error;
  shutdown_write(error);
  io::check(error, "coir: shutdown_write");
}

std::pair<pipe_stream, pipe_stream> make_pipe(std::error_code& error) {
  int ends[2];
  if (const int result = io::sys::make_pipe(ends); result < 0) {
    error.assign(-result, std::system_category());
    return {};
  }
  error.clear();
  io::handle first;
  try {
    first = io::handle(ends[0], medium::pipe);
  } catch (...) {
    io::sys::close(ends[1]);
    throw;
  }
  return {pipe_stream(std::move(first)), pipe_stream(io::handle(ends[1], medium::pipe))};
}
std::pair<pipe_stream, pipe_stream> make_pipe() {
  std::error_code error;
  auto ends = make_pipe(error);
  io::check(error, "coir: pipe");
  return ends;
}

pipe_stream standard_input() { return standard(STDIN_FILENO, "coir: standard_input"); }
pipe_stream standard_output() { return standard(STDOUT_FILENO, "coir: standard_output"); }
pipe_stream standard_error() { return standard(STDERR_FILENO, "coir: standard_error"); }

}  // namespace coir
