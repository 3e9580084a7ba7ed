#include "lent_memory.hpp"

#include <cerrno>
#include <new>

#include <sys/socket.h>

#include "system_calls.hpp"

namespace coir::io {
namespace {

sched::wait_reason reason_of(const io_call& call, bool cancellable) noexcept {
  return {
      .kind = call.kind(), .id = static_cast<std::uint64_t>(call.fd()), .cancellable = cancellable};
}

// The peer gets a reset, and the kernel drops what it has not sent, or of which it has not heard.
// The descriptor stays the caller's.
void reset_connection(handle_type fd) noexcept {
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  sys::connect(fd, &nobody, sizeof nobody);
}

}  // namespace

// No such operation, or not for this socket; more than RLIMIT_MEMLOCK, or no memory; pages that
// cannot be held (a device's).
bool is_refusal_to_lend(std::int32_t result) noexcept {
  return result == -EOPNOTSUPP || result == -ENOMEM || result == -ENOBUFS || result == -EFAULT;
}

void lent_memory::lend() noexcept {
  descriptor& d = *call_.target();
  d.lock.lock();
  ++lent_;
  d.lock.unlock();
}

sched::waiter* lent_memory::give_back(fate how) noexcept {
  descriptor& d = *call_.target();
  direction& side = *call_.side();
  if (how != fate::not_sent) d.zero_copy.note(how == fate::copied);
  d.lock.lock();
  sched::waiter* w = --lent_ == 0 ? side.waiting.claim_first() : nullptr;
  d.lock.unlock();  // the call may be gone; descriptors are never freed
  return w;
}

// Closers and those who move deadlines store first and take the lock afterwards, and wake whoever
// waits in the direction's queue, so who looks under the lock misses neither.
lent_memory::ending lent_memory::wait_as_call() noexcept {
  descriptor& d = *call_.target();
  direction& side = *call_.side();
  for (;;) {
    d.lock.lock();
    if (lent_ == 0 || side.is_closing()) {
      const ending how = lent_ == 0 ? ending::back : ending::closed;
      d.lock.unlock();
      return how;
    }
    sched::wait_node node;
    const clock::time_point deadline = call_.deadline();
    try {
      const sched::outcome how =
          sched::wait_in(side.waiting, d.lock, node, reason_of(call_, true), deadline);
      if (how == sched::outcome::cancelled) return ending::cancellation;
      if (how == sched::outcome::timed_out && deadline == call_.deadline()) return ending::deadline;
    } catch (const std::bad_alloc&) {
      return ending::no_memory;
    }
  }
}

bool lent_memory::wait_until(clock::time_point deadline) noexcept {
  descriptor& d = *call_.target();
  for (bool late = false;;) {
    d.lock.lock();
    if (const bool back = lent_ == 0; back || late) {
      d.lock.unlock();
      return back;
    }
    sched::wait_node node;
    try {
      late = sched::wait_in(call_.side()->waiting, d.lock, node, reason_of(call_, false),
                            deadline) == sched::outcome::timed_out;
    } catch (const std::bad_alloc&) {  // no timer: no patience either
      late = true;
    }
  }
}

bool lent_memory::settle() noexcept {
  if (wait_until(call_.target()->zero_copy.patience_from_now())) return true;
  reset_connection(call_.fd());
  wait_until(sched::never);
  return false;
}

void lent_memory::take_back(std::error_code& error) {
  const ending how = error ? ending::closed : wait_as_call();
  if (how == ending::back || settle() || error) return;
  switch (how) {
    case ending::cancellation:
      sched::throw_cancelled(call_.who());
    case ending::deadline:
      error = std::make_error_code(std::errc::timed_out);
      break;
    case ending::no_memory:
      error = std::make_error_code(std::errc::not_enough_memory);
      break;
    default:
      error = std::make_error_code(std::errc::operation_canceled);
  }
}

}  // namespace coir::io
