// System calls that give the kernel's answer as one value: a result, or a negative errno.
//
// Never inlined: errno's address is a constant to the compiler, and a caller that parks between two
// calls may be on another thread at the second (fiber/README.md).
#pragma once
#include <cstddef>
#include <cstdint>

#include <sys/socket.h>
#include <sys/uio.h>

struct addrinfo;

namespace coir::io::sys {

int socket(int family, int type) noexcept;                      // close-on-exec, non-blocking
int socket_pair(int family, int type, int (&fds)[2]) noexcept;  // the same, both
int bind(int fd, const void* address, std::size_t size) noexcept;
int listen(int fd, int backlog) noexcept;
int set_option(int fd, int level, int name, int value) noexcept;
int set_option(int fd, int level, int name, const void* value, std::size_t size) noexcept;
int get_option(int fd, int level, int name) noexcept;  // the value, which is not negative
int get_option(int fd, int level, int name, void* value, std::size_t size) noexcept;
int shutdown(int fd, int how) noexcept;
int close(int fd) noexcept;
int set_non_blocking(int fd) noexcept;
int set_close_on_exec(int fd) noexcept;
int duplicate(int fd) noexcept;  // close-on-exec

// None of these waits.
std::int32_t receive(int fd, void* into, std::size_t size) noexcept;
std::int32_t send(int fd, const void* from, std::size_t size) noexcept;
std::int32_t send_message(int fd, const msghdr& message) noexcept;
std::int32_t receive_message(int fd, msghdr& message, int flags) noexcept;
int receive_messages(int fd, mmsghdr* messages, unsigned count) noexcept;  // how many came
int send_messages(int fd, mmsghdr* messages, unsigned count) noexcept;     // how many went out
int accept(int fd) noexcept;  // close-on-exec, non-blocking
int connect(int fd, const void* address, std::size_t size) noexcept;
int ring(int eventfd) noexcept;  // adds one to it
bool ready_now(int fd, short events) noexcept;

// getaddrinfo(3), which blocks: for threads that are no workers. EAI_* or 0, and errno for
// EAI_SYSTEM.
struct name_answer {
  int code, error;
};
name_answer look_up(const char* host, const char* service, const addrinfo& hints,
                    addrinfo*& found) noexcept;

// A descriptor of the library's own fails: without it a worker can neither learn what has ended nor
// be woken. Says which, and stops the process.
[[noreturn]] void descriptor_is_lost(const char* which, int fd, int error) noexcept;

}  // namespace coir::io::sys
