#include "io_call.hpp"

#include <cerrno>

#include "reactor.hpp"

namespace coir::io {
namespace {

clock::time_point deadline_of(const direction& side) noexcept {
  return clock::time_point(clock::duration(side.deadline.load(std::memory_order_seq_cst)));
}
bool passed(clock::time_point deadline) noexcept {
  return deadline != sched::never && clock::now() >= deadline;
}

}  // namespace

bool io_call::on_fiber(std::error_code& error) {
  sched::host* host = sched::current_host_if_any();
  if (host == nullptr || host->io == nullptr || host->running == nullptr ||
      host->io->as_reactor() == nullptr) {
    error = std::make_error_code(std::errc::operation_not_permitted);
    return false;
  }
  who_ = host->running;
  sched::cancellation_point(*who_);
  return true;
}

bool io_call::enter(descriptor* d, direction descriptor::*side, sched::wait_kind kind,
                    std::error_code& error) {
  if (!on_fiber(error)) return false;
  if (d == nullptr || (d->*side).is_closing()) {
    error = std::make_error_code(std::errc::bad_file_descriptor);
    return false;
  }
  target_ = d;
  side_ = &(d->*side);
  fd_ = d->fd;
  kind_ = kind;
  if (passed(deadline_of(*side_))) {
    error = std::make_error_code(std::errc::timed_out);
    return false;
  }
  error.clear();
  return true;
}

bool io_call::enter_foreign(handle_type fd, sched::wait_kind kind, std::error_code& error) {
  if (!on_fiber(error)) return false;
  fd_ = fd;
  kind_ = kind;
  error.clear();
  return true;
}

bool io_call::enter_own(handle_type fd, direction& side, sched::wait_kind kind,
                        std::error_code& error) {
  side_ = &side;
  return enter_foreign(fd, kind, error);
}

reactor& io_call::driver() const noexcept { return *sched::current_host().io->as_reactor(); }

clock::time_point io_call::deadline() const noexcept {
  return side_ != nullptr ? deadline_of(*side_) : sched::never;
}

// Deadlines and closers store first and then look for a holder; the holder shows itself first and
// then looks at what they store: both with sequentially consistent operations, so one of the two
// sees the other.
std::int32_t io_call::hold_as(std::uintptr_t bits) noexcept {
  if (side_ == nullptr) return 0;
  std::uintptr_t word = 0;
  if (held_)
    word = side_->user.fetch_or(bits, std::memory_order_seq_cst);
  else if (side_->user.compare_exchange_strong(word, reinterpret_cast<std::uintptr_t>(who_) | bits,
                                               std::memory_order_seq_cst))
    held_ = true;
  else
    return (word & direction::closing) != 0 ? -ECANCELED : -EINPROGRESS;
  return (word & direction::closing) != 0 ? -ECANCELED : 0;
}

std::int32_t io_call::hold() noexcept {
  stopped_by = sched::operation::stop::none;
  return hold_as(0);
}

std::int32_t io_call::begin_operation() noexcept {
  stopped_by = sched::operation::stop::none;
  who_->claim.begin(sched::outcome::operating, sched::may_be_cancelled(*who_));
  std::int32_t refused = hold_as(direction::operating);
  if (refused == 0 && passed(deadline())) refused = -ETIMEDOUT;
  if (refused != 0) who_->claim.finish();
  return refused;
}

void io_call::leave_direction() noexcept {
  held_ = false;
  if (target_ == nullptr) return;  // nobody else comes by that direction any more
  std::uintptr_t word = side_->user.load(std::memory_order_relaxed);
  if ((word & direction::closing) != 0 ||
      !side_->user.compare_exchange_strong(word, 0, std::memory_order_acq_rel,
                                           std::memory_order_relaxed))
    leave_while_closing(*target_, *side_);
}

bool io_call::again(std::int32_t result, std::error_code& error) {
  if (closing()) {  // whatever it looks like: shutdown(2) shows itself in many ways
    error = std::make_error_code(std::errc::operation_canceled);
    return false;
  }
  const bool stopped = result == -ECANCELED && stopped_by != sched::operation::stop::none;
  if (stopped || result == -EAGAIN || result == -EINTR) {
    // Stopped by a message whose deadline has been moved meanwhile, or there was nothing yet: once
    // more.
    if (stopped_by == sched::operation::stop::cancellation) sched::throw_cancelled(*who_);
    if (!passed(deadline())) return true;
    result = -ETIMEDOUT;
  }
  error.assign(-result, std::system_category());
  return false;
}

}  // namespace coir::io
