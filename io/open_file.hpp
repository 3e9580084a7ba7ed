// An open file, shared by its handle and the calls in flight.
//
// Always true: the number goes back to the system only when no call is in flight and none can
// begin.
#pragma once
#include <atomic>
#include <cstdint>
#include <system_error>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/io/file.hpp>
#include <coir/sched/wait_queue.hpp>

#include "file_request.hpp"
#include "io_call.hpp"

namespace coir::io {

class file_call;

// How a write that would not have to wait is made.
enum class quick_write : std::uint8_t {
  unknown,
  asks,     // with RWF_NOWAIT
  plainly,  // the file is memory, and nothing to wait for
  never     // the file system does not say whether it would wait
};

struct open_file {
  open_file(handle_type number, int open_flags) noexcept;

  const handle_type fd;
  const bool direct;                     // O_DIRECT
  const bool appends;                    // O_APPEND: writes go to the end
  std::atomic<bool> at_position{false};  // a call moves the position; it takes and leaves it
  std::atomic<std::uint32_t> spent{0};   // by operations that did not have to wait
  std::atomic<quick_write> writes{quick_write::unknown};  // relaxed; found out again at worst
  std::atomic<bool> writing{false};  // a thread of the pool does; others take the ring

  sched::spin_lock lock;
  // Under lock:
  fiber::intrusive_list<file_call> calls;  // in flight
  fiber::intrusive_list<file_call> told;   // of those: to whom the closer has spoken
  bool closing = false;                    // no call may begin
  bool closed = false;
  sched::wait_queue closers;

  bool is_closing() noexcept {
    lock.lock();
    const bool is = closing;
    lock.unlock();
    return is;
  }
  // Ends the calls in flight, waits for them, then parts with the number. The number; -1: somebody
  // else has.
  handle_type end(bool close_it) noexcept;

 private:
  void stop_calls() noexcept;
};

// One call on it, from its first check to its return.
class file_call : public fiber::intrusive_hook {
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

  // The closer's, under the file's lock: ends an operation of a ring. False: there is none.
  bool tell(sched::request&) noexcept;

 private:
  void leave() noexcept;
  std::int32_t run_slowly(const file_request&);
  std::int32_t run_at_position(file_request);

  direction side_;  // this call's own, which the closer finds by the file's list
  io_call call_;
  open_file* file_ = nullptr;
  bool moves_position_ = false;
};

// An operation that needs no open file: open. On a fiber.
std::int32_t run_request(io_call&, const file_request&);

}  // namespace coir::io
