// An open file, shared by its handle and the calls in flight.
//
// Always true: the number goes back to the system only when no call is in flight and none can
// begin.
#pragma once
#include <atomic>
#include <cstdint>
#include <system_error>

#include <coir/io/file.hpp>
#include <coir/sched/wait_queue.hpp>

#include "file_request.hpp"
#include "io_call.hpp"

namespace coir::io {

struct open_file {
  explicit open_file(handle_type number, bool is_direct) noexcept : fd(number), direct(is_direct) {}

  const handle_type fd;
  const bool direct;                          // O_DIRECT
  std::atomic<bool> at_position{false};       // a call moves the position; it takes and leaves it
  std::atomic<std::uint32_t> quick_reads{0};  // how many did not have to wait

  sched::spin_lock lock;
  // Under lock:
  std::uint32_t calls = 0;  // in flight
  bool closing = false;     // no call may begin
  bool closed = false;
  sched::wait_queue closers;

  bool is_closing() noexcept {
    lock.lock();
    const bool is = closing;
    lock.unlock();
    return is;
  }
  // Waits for the calls in flight, then parts with the number. The number; -1: somebody else has.
  handle_type end(bool close_it) noexcept;
};

// One call on it, from its first check to its return.
class file_call {
 public:
  enum class place : bool { given, position };

  // False from enter(): `error` says why there is no call. Throws coir::cancelled.
  bool enter(open_file*, place, std::error_code& error);
  ~file_call() { leave(); }
  file_call() = default;
  file_call(const file_call&) = delete;
  file_call& operator=(const file_call&) = delete;

  // One operation, which may park; the result, or 0 and `error`.
  std::int32_t run(file_request, std::error_code& error);
  // The same again and again until all is moved; or a read finds the end. How much it was.
  std::size_t run_all(file_request, std::error_code& error);

 private:
  void leave() noexcept;

  io_call call_;
  open_file* file_ = nullptr;
  bool moves_position_ = false;
};

// An operation that needs no open file: open. On a fiber.
std::int32_t run_request(io_call&, const file_request&);

}  // namespace coir::io
