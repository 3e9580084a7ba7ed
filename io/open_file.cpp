#include "open_file.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>
#include <new>

#include <fcntl.h>
#include <poll.h>

#include "reactor.hpp"
#include "run_blocking.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

// What moves without waiting ends here and parks nobody; now and then others get a turn: after so
// many units, of one call or that many bytes.
constexpr std::uint32_t budget = 64;
constexpr std::size_t unit = 16 * 1024;
// So long a worker may copy.
constexpr std::size_t most_quickly = 1024 * 1024;
// So long a thread may be busy with one file, and a cancellation or a closer wait.
constexpr std::size_t most_at_once = 8 * 1024 * 1024;

std::int32_t write_quickly(open_file& f, const file_request& r) noexcept {
  switch (f.writes.load(std::memory_order_relaxed)) {
    case quick_write::never:
      return 0;
    case quick_write::plainly:
      return sys::run(r);
    case quick_write::unknown:
    case quick_write::asks:
      break;
  }
  const std::int32_t n = sys::write_cached(r);
  const bool cannot = n == -EOPNOTSUPP || n == -ENOSYS || n == -EINVAL;
  const auto how = !cannot                   ? quick_write::asks
                   : sys::is_in_memory(r.fd) ? quick_write::plainly
                                             : quick_write::never;
  f.writes.store(how, std::memory_order_relaxed);
  return n;
}

// 0 or less: it has to wait for a device, or nobody knows, or this is the end, of which not every
// kernel is sure here, or an error: the slow way tells.
std::int32_t move_quickly(open_file& f, file_request r) {
  using kind = file_request::kind;
  if (f.direct || (r.what != kind::read && r.what != kind::write)) return 0;
  r.size = std::min(r.size, most_quickly);
  const std::int32_t n = r.what == kind::read ? sys::read_cached(r) : write_quickly(f, r);
  if (n <= 0) return n;
  const auto spends = static_cast<std::uint32_t>(1 + static_cast<std::size_t>(n) / unit);
  if (f.spent.fetch_add(spends, std::memory_order_relaxed) % budget + spends >= budget)
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

// Each call once. What a ring does is cancelled there; what a thread of the pool does has the
// caller's buffer, and ends when the kernel has done with that. Without memory for the message it
// is the same with a ring.
void open_file::stop_calls() noexcept {
  for (;;) {
    auto message = std::unique_ptr<sched::request>(new (std::nothrow) sched::request);
    lock.lock();
    file_call* const call = calls.pop_front();
    bool tells = false;
    if (call != nullptr) {
      told.push_back(*call);
      sched::request none;
      tells = call->tell(message != nullptr ? *message : none) && message != nullptr;
    }
    lock.unlock();
    if (call == nullptr) return;
    if (!tells) continue;
    message->handled = [](sched::request& r) noexcept { delete &r; };
    sched::send_request(*message.release());
  }
}

open_file::open_file(handle_type number, int open_flags) noexcept
    : fd(number), direct((open_flags & O_DIRECT) != 0), appends((open_flags & O_APPEND) != 0) {}

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
  stop_calls();
  wait_until([this] { return calls.empty() && told.empty(); });
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
  if (!call_.enter_own(f == nullptr ? -1 : f->fd, side_, sched::wait_kind::file, error))
    return false;
  if (f != nullptr) {
    f->lock.lock();
    if (!f->closing) {
      f->calls.push_back(*this);
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
  unlink();
  if (file_->closing && file_->calls.empty() && file_->told.empty())
    while (sched::waiter* w = file_->closers.claim_first()) closers.push(*w);
  file_->lock.unlock();  // the file may be gone from here on
  file_ = nullptr;
  sched::wake(closers);
}

bool file_call::tell(sched::request& message) noexcept {
  side_.user.fetch_or(direction::closing, std::memory_order_seq_cst);
  return address(message, side_);
}

// A ring that moves a part, tries again and then fails tells of the part, and leaves the position
// where it was (Linux 6.18): what came next would go over it. So it gets the place, and we move the
// position.
std::int32_t file_call::run_at_position(file_request r) {
  const std::int64_t at =
      file_->appends || !call_.driver().takes(r.what) ? -1 : sys::position(r.fd);
  if (at < 0) return run_request(call_, r);
  r.offset = static_cast<std::uint64_t>(at);
  const std::int32_t n = run_request(call_, r);
  if (n > 0) sys::set_position(r.fd, at + n);
  return n;
}

// A write to a file system that does not say whether it would wait: the kernel hands it from the
// ring to a thread of its own, and takes longer for that than we do, if one of ours is free. Only
// one at a time of a file: it would lock the others out.
std::int32_t file_call::run_slowly(const file_request& r) {
  const bool by_us = r.what == file_request::kind::write && !file_->direct &&
                     file_->writes.load(std::memory_order_relaxed) == quick_write::never &&
                     sched::on_fiber() && sched::offload_begins_at_once() &&
                     !file_->writing.exchange(true, std::memory_order_relaxed);
  if (!by_us) {
    const bool at_position = r.offset == file_request::current_position && r.size != 0;
    return at_position ? run_at_position(r) : run_request(call_, r);
  }
  struct end_of_writing {
    std::atomic<bool>& writing;
    ~end_of_writing() { writing.store(false, std::memory_order_relaxed); }
  } const end{file_->writing};
  return run_blocking([&r] { return sys::run(r); });
}

std::int32_t file_call::run(file_request r, std::error_code& error) {
  r.fd = file_->fd;
  r.size = std::min(r.size, most_at_once);
  for (;;) {
    std::int32_t result = call_.closing() ? -ECANCELED : move_quickly(*file_, r);
    if (result > 0) return result;
    if (!call_.closing()) result = run_slowly(r);
    if (result >= 0) return result;
    // A pipe that is O_NONBLOCK, which is no file: nobody spins because of it.
    if (result == -EAGAIN && !call_.closing())
      result =
          call_.driver().wait_for(call_, r.what == file_request::kind::write ? POLLOUT : POLLIN);
    if (result >= 0) continue;
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
