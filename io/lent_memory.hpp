// The memory of one call, while the kernel sends from it without a copy.
//
// Always true: `lent_` is how many notifications are still to come, and no call returns before all
// have. The kernel lets go of memory when the peer has acknowledged it, or the connection is over;
// a peer that acknowledges nothing, and does not end either, is kept waiting for by nobody: a call
// that has to end resets the connection.
#pragma once
#include <system_error>

#include <coir/sched/clock.hpp>

#include "io_call.hpp"

namespace coir::io {

// What a kernel answers that does not send from this memory, or not now: a copy may still go out.
bool is_refusal_to_lend(std::int32_t result) noexcept;

class lent_memory {
 public:
  explicit lent_memory(io_call& call) noexcept : call_(call) {}
  ~lent_memory() { settle(); }  // if the call ends by an exception
  lent_memory(const lent_memory&) = delete;
  lent_memory& operator=(const lent_memory&) = delete;

  // --- the ring that sends, on its owner's thread
  void lend() noexcept;  // a part has been taken, and a notification will follow
  // The notification: what became of the part. The waiter that it has claimed, or null. The last
  // touch.
  enum class fate : std::uint8_t { not_sent, sent, copied };
  sched::waiter* give_back(fate) noexcept;

  // --- the call
  // Waits for the notifications, as the call waits for everything. If it has to end first, says so
  // in `error`, or throws coir::cancelled; the connection has then been reset.
  void take_back(std::error_code& error);

 private:
  enum class ending { back, deadline, cancellation, closed, no_memory };

  ending wait_as_call() noexcept;
  bool wait_until(clock::time_point deadline) noexcept;  // true: all is back
  bool settle() noexcept;                                // false: by a reset

  io_call& call_;
  unsigned lent_ = 0;  // under the descriptor's lock
};

}  // namespace coir::io
