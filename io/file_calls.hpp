// System calls on what is no socket; as in system_calls.hpp, one value each, never inlined.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/uio.h>

namespace coir::io::sys {

// What reads and writes pipes raises SIGPIPE on the calling thread: workers block it.

// Neither waits: -EAGAIN. `shared`: the description may lack O_NONBLOCK. There, where the kernel
// takes no flag for one call, they look first, and what another process takes in between blocks.
std::int32_t read_now(int fd, std::span<std::byte> into, bool shared) noexcept;
std::int32_t write_now(int fd, std::span<const iovec> from, bool shared) noexcept;

// On a thread that may block.
std::int32_t read(int fd, std::span<std::byte> into) noexcept;
std::int32_t write(int fd, std::span<const iovec> from) noexcept;

int make_pipe(int (&ends)[2]) noexcept;           // close-on-exec, non-blocking, read end first
int make_blocking_pipe(int (&ends)[2]) noexcept;  // close-on-exec
int open_null() noexcept;                         // close-on-exec
// On a thread that may block: until poll(2) names an event.
void wait_until_ready(int fd, short events) noexcept;
// What kinds of file there are to tell apart; bad: no descriptor.
enum class file_kind : unsigned char { bad, regular, fifo, terminal, other };
file_kind kind_of(int fd) noexcept;
int open_flags(int fd) noexcept;
// A close-on-exec, non-blocking description of its own for the same pipe or terminal.
int reopen_non_blocking(int fd) noexcept;
int set_blocking(int fd) noexcept;
int replace(int fd, int by) noexcept;  // `fd` becomes a copy of `by`, close-on-exec
int duplicate_high(int fd) noexcept;   // no standard stream, close-on-exec

}  // namespace coir::io::sys
