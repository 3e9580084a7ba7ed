#include "transfer.hpp"

#include <cerrno>
#include <cstdint>
#include <new>

#include <coir/io/errors.hpp>

#include "file_calls.hpp"
#include "gather_window.hpp"
#include "lent_memory.hpp"
#include "reactor.hpp"
#include "run_blocking.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

using bytes = std::span<std::byte>;
using const_bytes = std::span<const std::byte>;

// What a driver cannot wait for is read and written on a thread of the pool.
bool needs_a_thread(const io_call& call) noexcept {
  return call.target()->through == medium::regular &&
         call.driver().contract() == sched::completion_contract::roaming;
}

std::int32_t attempt_read(io_call& call, bytes into) {
  if (call.target()->through == medium::socket) return call.driver().receive(call, into);
  if (!needs_a_thread(call)) return call.driver().read(call, into);
  const std::int32_t refused = call.hold();
  return refused != 0 ? refused : run_blocking([&] { return sys::read(call.fd(), into); });
}

std::int32_t attempt_write(io_call& call, std::span<const iovec> from) {
  if (!needs_a_thread(call)) return call.driver().write(call, from);
  const std::int32_t refused = call.hold();
  return refused != 0 ? refused : run_blocking([&] { return sys::write(call.fd(), from); });
}

std::int32_t attempt_send(io_call& call, const_bytes from) {
  if (call.target()->through == medium::socket) return call.driver().send(call, from);
  const iovec part{const_cast<std::byte*>(from.data()), from.size()};
  return attempt_write(call, {&part, 1});
}

std::int32_t attempt_send(io_call& call, const msghdr& message) {
  if (call.target()->through == medium::socket) return call.driver().send_message(call, message);
  return attempt_write(call, {message.msg_iov, message.msg_iovlen});
}

// What is there when the deadline strikes came in time: a worker that was kept from its events
// finds both at once. Whether the kernel has an answer, be it an error, which it tells but once.
bool has_come(const io_call& call, bytes into, std::int32_t& n) noexcept {
  // The kernel's own timed_out is about a peer that is gone.
  if (n == -ETIMEDOUT || call.target()->through != medium::socket) return false;
  n = sys::receive(call.fd(), into.data(), into.size());
  return n != -EAGAIN && n != -EINTR && (n > 0 || !call.closing());
}

// One successful receive. 0: the end, or `error`.
std::size_t receive(io_call& call, bytes into, std::error_code& error) {
  for (;;) {
    std::int32_t n = attempt_read(call, into);
    if (n < 0 || (n == 0 && call.closing())) {
      if (call.again(n, error)) continue;
      if (error != std::errc::timed_out || !has_come(call, into, n)) return 0;
      error.assign(n < 0 ? -n : 0, std::system_category());
    }
    if (n <= 0) return 0;
    return call.moved(static_cast<std::size_t>(n)), static_cast<std::size_t>(n);
  }
}

std::size_t send(io_call& call, const_bytes from, std::error_code& error) {
  for (;;) {
    const std::int32_t n = attempt_send(call, from);
    if (n >= 0) return call.moved(static_cast<std::size_t>(n)), static_cast<std::size_t>(n);
    if (!call.again(n, error)) return 0;
  }
}

// After a part has gone out: whether to go on. A stop that came meanwhile ends the call.
bool go_on(io_call& call, std::error_code& error) {
  return call.stopped_by == sched::operation::stop::none || call.again(-ECANCELED, error);
}

// After an attempt to send from the front of a window: whether to make another one.
bool go_on_after(std::int32_t n, io_call& call, gather_window& window, std::size_t& done,
                 std::error_code& error) {
  if (n < 0) return call.again(n, error);
  call.moved(static_cast<std::size_t>(n));
  done += static_cast<std::size_t>(n);
  window.consume(static_cast<std::size_t>(n));
  return call.wants_all && !window.empty() && go_on(call, error);
}

// So much memory is lent by one operation: the next one follows when this has been taken, so the
// socket's buffer does not run empty, and its pages count against RLIMIT_MEMLOCK until the
// notification.
constexpr std::size_t lent_at_once = 1024 * 1024;

// Without a copy, if the kernel can. Returns when it has let go of the memory.
std::size_t send_lending(io_call& call, std::span<const const_bytes> from, std::error_code& error) {
  zero_copy_setting& setting = call.target()->zero_copy;
  lent_memory lent(call);
  bool refused = false;
  std::size_t done = 0;
  gather_window window(from, lent_at_once);
  for (bool more = !window.empty(); more;) {
    const bool lends = !refused && setting.is_on();
    const std::int32_t n = lends ? call.driver().send_lending(call, window.message(), lent)
                                 : call.driver().send_message(call, window.message());
    if (lends && is_refusal_to_lend(n)) {
      refused = true;
      if (n == -EOPNOTSUPP) setting.from.store(zero_copy_setting::never, std::memory_order_relaxed);
      continue;
    }
    more = go_on_after(n, call, window, done, error);
  }
  lent.take_back(error);
  return done;
}

bool wants_zero_copy(const descriptor& d, std::span<const const_bytes> from) noexcept {
  if (!d.zero_copy.is_on()) [[likely]]
    return false;
  std::size_t all = 0;
  for (const const_bytes& part : from) all += part.size();
  return d.zero_copy.wants(all);
}

}  // namespace

std::size_t receive_some(descriptor* d, bytes into, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::reading, sched::wait_kind::read, error) || into.empty()) return 0;
  return receive(call, into, error);
}

std::size_t receive_exactly(descriptor* d, bytes into, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::reading, sched::wait_kind::read, error)) return 0;
  std::size_t done = 0;
  while (done != into.size()) {
    const std::size_t n = receive(call, into.subspan(done), error);
    done += n;
    if (error) break;
    if (n == 0) {
      error = stream_errc::incomplete_read;
      break;
    }
    if (done != into.size() && !go_on(call, error)) break;
  }
  return done;
}

std::size_t send_some(descriptor* d, const_bytes from, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::writing, sched::wait_kind::write, error) || from.empty())
    return 0;
  if (d->zero_copy.wants(from.size())) [[unlikely]]
    return send_lending(call, {&from, 1}, error);
  return send(call, from, error);
}

std::size_t send_all(descriptor* d, const_bytes from, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::writing, sched::wait_kind::write, error)) return 0;
  call.wants_all = true;
  if (d->zero_copy.wants(from.size())) [[unlikely]]
    return send_lending(call, {&from, 1}, error);
  std::size_t done = 0;
  while (done != from.size()) {
    done += send(call, from.subspan(done), error);
    if (error || (done != from.size() && !go_on(call, error))) break;
  }
  return done;
}

std::size_t send_all(descriptor* d, std::span<const const_bytes> from, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::writing, sched::wait_kind::write, error)) return 0;
  call.wants_all = true;
  if (wants_zero_copy(*d, from)) [[unlikely]]
    return send_lending(call, from, error);
  std::size_t done = 0;
  gather_window window(from);
  for (bool more = !window.empty(); more;)
    more = go_on_after(attempt_send(call, window.message()), call, window, done, error);
  return done;
}

}  // namespace coir::io
