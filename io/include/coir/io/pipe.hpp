// Pipes, FIFOs and terminals as streams, and the standard streams of the process.
#pragma once
#include <system_error>
#include <utility>

#include <coir/io/descriptor_stream.hpp>

namespace coir {

// What is read and written with read(2) and write(2): one end of a pipe, a FIFO, a terminal; a
// socket or a file that came as a standard stream as well. Its calls are descriptor_stream's. With
// no reader left, writing gives broken_pipe and raises no SIGPIPE, because workers have that
// blocked; the disposition stays the program's.
class pipe_stream : public descriptor_stream {
 public:
  pipe_stream() noexcept = default;
  explicit pipe_stream(io::handle h) noexcept : descriptor_stream(std::move(h)) {}

  // Takes over the descriptor, and makes it close-on-exec. O_NONBLOCK is never set on a description
  // that others may share (a pipe of the shell's): a pipe or terminal is opened again under the
  // same number if the system allows it, else each call asks not to wait. Throws std::system_error
  // if that is no open descriptor. Any thread.
  static pipe_stream adopt(handle_type);

  // Closes what can only be written, so that the reader finds the end. operation_not_supported:
  // this can also be read, and has no half to shut; bad_file_descriptor: it cannot be written.
  void shutdown_write();
  void shutdown_write(std::error_code&);
};

// Two ends of a new pipe, the read end first. Any thread.
std::pair<pipe_stream, pipe_stream> make_pipe();
std::pair<pipe_stream, pipe_stream> make_pipe(std::error_code&);

// The process's standard streams, each call a stream of its own over a duplicate: closing it closes
// neither 0, 1, 2 nor the stream of another call. Two readers of one input share what comes. Files
// are read and written where their position is. Throws std::system_error(bad_file_descriptor) if
// the process has none. Any thread.
pipe_stream standard_input();
pipe_stream standard_output();
pipe_stream standard_error();

}  // namespace coir
