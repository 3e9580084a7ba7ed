// A file out of a socket, without a copy through the program.
#pragma once
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <coir/io/file.hpp>
#include <coir/io/socket_stream.hpp>

namespace coir {

// Sends `count` bytes of the file from `offset` on, or less if it ends before; how many it was. The
// file's position stays. Waits for the disk on a thread of the pool and for the peer as write()
// does; deadlines, cancellation and close() of the stream end it, and another writer gets
// operation_in_progress. Where the system cannot move the bytes itself, reads and writes. The
// second form returns the bytes so far; otherwise they are in bytes_written(). A fiber.
std::size_t send_file(socket_stream& to, file& from, std::uint64_t offset, std::size_t count);
std::size_t send_file(socket_stream& to, file& from, std::uint64_t offset, std::size_t count,
                      std::error_code&);

}  // namespace coir
