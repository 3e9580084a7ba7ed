// From one stream to another, of whatever types.
#pragma once
#include <cstddef>
#include <system_error>

#include <coir/io/stream_view.hpp>

namespace coir {

namespace io {

std::size_t copy(stream_view from, stream_view to);
std::size_t copy(stream_view from, stream_view to, std::error_code&);
void copy_both_ways(stream_view a, stream_view b);
void copy_both_ways(stream_view a, stream_view b, std::error_code&);

}  // namespace io

// Reads `from` to its end and writes all of it to `to`, which stays open for writing; how many
// bytes. The second form returns how many were written before the error. What has been read and not
// written when it fails or is cancelled is gone: the difference of the streams' counts. Keeps a
// buffer of 4 KiB, which grows to 64 KiB with what comes. Throws std::system_error,
// coir::cancelled. A fiber.
template <byte_source From, byte_sink To>
std::size_t copy(From& from, To& to) {
  return io::copy(io::stream_view(from), io::stream_view(to));
}
template <byte_source From, byte_sink To>
std::size_t copy(From& from, To& to, std::error_code& error) {
  return io::copy(io::stream_view(from), io::stream_view(to), error);
}

// Both directions at once, on this fiber and another, until both have ended; what a proxy does. The
// end of one is passed on by shutdown_write, and the other goes on. An error of one ends the other
// too, and is thrown; neither stream is closed. Throws std::system_error, coir::cancelled. A fiber.
template <byte_stream A, byte_stream B>
void copy_both_ways(A& a, B& b) {
  io::copy_both_ways(io::stream_view(a), io::stream_view(b));
}
template <byte_stream A, byte_stream B>
void copy_both_ways(A& a, B& b, std::error_code& error) {
  io::copy_both_ways(io::stream_view(a), io::stream_view(b), error);
}

}  // namespace coir
