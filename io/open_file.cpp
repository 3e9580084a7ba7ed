#include "open_file.hpp"

#include <cerrno>
#include <limits>

#include "reactor.hpp"
#include "run_blocking.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

// Reads of what is in memory end here and park nobody; now and then others get a turn.
constexpr std::uint32_t budget = 64;

// 0: it is not all in memory, or this is the end, of which not every kernel is sure here.
std::int32_t quick_read(open_file& f, const file_request& r) {
  if (r.what != file_request::kind::read || f.direct) return 0;
  const std::int32_t n = sys::read_cached(r);
  if (n > 0 && f.quick_reads.fetch_add(1, std::memory_order_relaxed) % budget == budget - 1)
    sched::current_host().yield();
  return n;
}

}  // namespace

std::int32_t run_request(io_call& call, const file_request& r) {
  if (call.driver().takes(r.what)) {
    const std::int32_t result = call.driver().run_file(call, r);
    if (result != -EAGAIN) return result;
  }
  return run_blocking([&r] { return sys::run(r); });
}

handle_type open_file::end(bool close_it) noexcept {
  const auto wait_until = [this](auto done) noexcept {  // the lock is held then
    for (;;) {
      lock.lock();
      if (done()) return;
      sched::wait_node node;
      sched::wait_in(closers, lock, node,
                     {sched::wait_kind::close, static_cast<std::uint64_t>(fd), false},
                     sched::never);
    }
  };
  lock.lock();
  const bool first = !closing;
  closing = true;
  lock.unlock();
  if (!first) {
    wait_until([this] { return closed; });
    return lock.unlock(), -1;
  }
  wait_until([this] { return calls == 0; });
  lock.unlock();
  if (close_it) sys::close(fd);
  sched::ready_list others;
  lock.lock();
  closed = true;
  while (sched::waiter* w = closers.claim_first()) others.push(*w);
  lock.unlock();
  sched::wake(others);
  return fd;
}

bool file_call::enter(open_file* f, place where, std::error_code& error) {
  if (!call_.enter_foreign(f == nullptr ? -1 : f->fd, sched::wait_kind::file, error)) return false;
  if (f != nullptr) {
    f->lock.lock();
    if (!f->closing) {
      ++f->calls;
      file_ = f;
    }
    f->lock.unlock();
  }
  if (file_ == nullptr) {
    error = std::make_error_code(std::errc::bad_file_descriptor);
    return false;
  }
  moves_position_ = where == place::position;
  if (moves_position_ && f->at_position.exchange(true, std::memory_order_acquire)) {
    moves_position_ = false;
    error = std::make_error_code(std::errc::operation_in_progress);
    return false;
  }
  return true;
}

void file_call::leave() noexcept {
  if (file_ == nullptr) return;
  if (moves_position_) file_->at_position.store(false, std::memory_order_release);
  sched::ready_list closers;
  file_->lock.lock();
  if (--file_->calls == 0 && file_->closing)
    while (sched::waiter* w = file_->closers.claim_first()) closers.push(*w);
  file_->lock.unlock();  // the file may be gone from here on
  file_ = nullptr;
  sched::wake(closers);
}

std::int32_t file_call::run(file_request r, std::error_code& error) {
  r.fd = file_->fd;
  if (const std::int32_t n = quick_read(*file_, r); n > 0) return n;
  for (;;) {
    const std::int32_t result = run_request(call_, r);
    if (result >= 0) return result;
    if (file_->is_closing()) {
      error = std::make_error_code(std::errc::operation_canceled);
      return 0;
    }
    if (!call_.again(result, error)) return 0;
  }
}

std::size_t file_call::run_all(file_request r, std::error_code& error) {
  constexpr std::uint64_t last = std::numeric_limits<std::int64_t>::max();
  const bool positional = !moves_position_;
  if (positional && (r.offset > last || r.size > last - r.offset)) {
    error = std::make_error_code(std::errc::invalid_argument);
    return 0;
  }
  std::size_t done = 0;
  while (r.size != 0) {
    const std::int32_t n = run(r, error);
    if (n <= 0) break;
    const auto moved = static_cast<std::size_t>(n);
    done += moved;
    r.size -= moved;
    r.data = static_cast<std::byte*>(r.data) + moved;
    if (positional) r.offset += moved;
    if (r.size == 0 || call_.stopped_by == sched::operation::stop::none) continue;
    if (!call_.again(-ECANCELED, error)) break;
  }
  return done;
}

}  // namespace coir::io
