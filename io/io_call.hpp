// One blocking call of a stream: holds its direction, knows how it has to end.
#pragma once
#include <cstdint>
#include <system_error>

#include <coir/sched/cancellation.hpp>

#include "descriptor.hpp"

namespace coir {
class reactor;
}

namespace coir::io {

class io_call {
 public:
  io_call() = default;
  io_call(const io_call&) = delete;
  io_call& operator=(const io_call&) = delete;
  ~io_call() { leave(); }

  // Once, first. Throws coir::cancelled before anything has happened; false: `error` says why there
  // is no call. A call without descriptor (foreign ones, connections to be) has no direction to
  // hold; one on a file brings its own, which whoever closes that finds by the file.
  bool enter(descriptor* d, direction descriptor::*side, sched::wait_kind kind,
             std::error_code& error);
  bool enter_foreign(handle_type fd, sched::wait_kind kind, std::error_code& error);
  bool enter_own(handle_type fd, direction& side, sched::wait_kind kind, std::error_code& error);

  reactor& driver()
      const noexcept;  // of the worker that runs the call now: ask before each attempt

  // A driver's negative result. True: try again. False: `error` says how the call ends. Throws
  // coir::cancelled.
  bool again(std::int32_t result, std::error_code& error);

  void moved(std::size_t n) noexcept {
    side_->bytes.store(side_->bytes.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  bool closing() const noexcept { return side_ != nullptr && side_->is_closing(); }

  // --- for drivers
  // ---------------------------------------------------------------------------------------------
  // Takes the direction, if this call has not yet; 0 or a negative errno that again() understands.
  std::int32_t hold() noexcept;
  // The same, and begins an operation that park_operation() will end. On failure nothing has begun.
  std::int32_t begin_operation() noexcept;
  clock::time_point deadline() const noexcept;

  descriptor* target() const noexcept { return target_; }
  direction* side() const noexcept { return side_; }
  sched::waiter& who() const noexcept { return *who_; }
  handle_type fd() const noexcept { return fd_; }
  sched::wait_kind kind() const noexcept { return kind_; }

  sched::operation::stop stopped_by = sched::operation::stop::none;  // of the last attempt
  bool wants_all = false;   // a short count is no use: the kernel may go on by itself
  bool is_message = false;  // it moves whole, or not at all
  bool wait_first = false;  // the last attempt said that it would have to wait, and did not

 private:
  bool on_fiber(std::error_code& error);
  void leave() noexcept {
    if (held_) leave_direction();
  }
  void leave_direction() noexcept;
  std::int32_t hold_as(std::uintptr_t bits) noexcept;

  descriptor* target_ = nullptr;
  direction* side_ = nullptr;
  sched::waiter* who_ = nullptr;
  handle_type fd_ = -1;
  sched::wait_kind kind_ = sched::wait_kind::nothing;
  bool held_ = false;
};

}  // namespace coir::io
