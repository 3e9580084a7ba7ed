// What a runtime is made with.
#pragma once
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <string_view>

namespace coir {

enum class reactor_kind : unsigned char {
  automatic,      // io_uring where the kernel allows it, else epoll
  uring,          // io_uring with the kernel's full set; a refusal throws
  uring_oneshot,  // io_uring without multishot requests and buffer rings
  epoll,
  iocp,  // Windows
};

// How a runtime is made. Each field has a default that suits a server.
struct options {
  // OS threads that run fibers. 0: as many as the process may use (affinity mask and cgroup CPU
  // quota).
  unsigned workers = 0;
  // Bytes of stack reserved per fiber; pages are committed on first touch. Rounded up to whole
  // pages, at least 16 KiB.
  std::size_t stack_size = 256 * 1024;
  // A kind that the kernel refuses throws std::system_error with the kernel's errno, the likely
  // cause and the remedy.
  reactor_kind reactor = reactor_kind::automatic;
  // One idle worker at most, and one thread of the pool, polls that long before it sleeps; stops
  // when that rarely pays. 0: never.
  std::chrono::microseconds idle_poll{20};
  // Paints every stack, to know its high-water mark (slow).
  bool measure_stacks = false;
  // Upper bound of the pool behind offload().
  unsigned blocking_threads = 512;
  // In run(): the first SIGINT cancels main; if that ends it, run throws interrupted. The second
  // ends the process at once.
  bool cancel_on_interrupt = false;
  // Past it, run and ~runtime name on stderr the fibers that ignore cancellation, and stop the
  // process.
  std::chrono::milliseconds shutdown_limit = std::chrono::milliseconds::max();
  // What becomes of an exception that leaves a fiber and that nobody waits for; on any worker.
  // Default: a line on stderr.
  std::function<void(std::exception_ptr, std::string_view fiber_name)> on_unhandled = {};
  // A line on stderr when a runtime starts: its reactor, why it is this one, and which way each
  // operation goes. runtime_metrics has the same.
  bool log_reactor = false;

  // The defaults, changed by COIR_WORKERS, COIR_STACK_SIZE (bytes), COIR_REACTOR (automatic, uring,
  // uring_oneshot, epoll), COIR_IDLE_POLL (microseconds) and COIR_LOG_REACTOR (0 or 1). A bad value
  // throws std::invalid_argument that names the variable.
  static options from_environment();
};

}  // namespace coir
