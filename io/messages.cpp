#include "messages.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/socket.h>

#include "reactor.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

using bytes = std::span<std::byte>;
using const_bytes = std::span<const std::byte>;

constexpr std::size_t batch = 32;  // messages a system call; what describes them lies on the stack

// Where the kernel puts a message and what it says of it.
class arrival {
 public:
  arrival(bytes into, bool ask_for_sender) noexcept : part_{into.data(), into.size()} {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
    if (ask_for_sender) message_.msg_name = &from_;
  }
  arrival(const arrival&) = delete;
  arrival& operator=(const arrival&) = delete;

  // For each attempt anew: the kernel writes into it.
  msghdr& message() noexcept {
    message_.msg_namelen = message_.msg_name == nullptr ? 0 : sizeof from_;
    return message_;
  }
  datagram result(std::int32_t size) const noexcept {
    return {static_cast<std::size_t>(size), endpoint::from_native(&from_, message_.msg_namelen),
            (message_.msg_flags & MSG_TRUNC) != 0};
  }

 private:
  iovec part_;
  msghdr message_{};
  sockaddr_storage from_;
};

// A message as it is to leave. `to` names no address: to the peer.
msghdr departure(iovec& part, const_bytes from, const endpoint& to) noexcept {
  part = {const_cast<std::byte*>(from.data()), from.size()};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  if (to.kind() == endpoint::family::none) return m;
  m.msg_name = const_cast<void*>(to.native());
  m.msg_namelen = static_cast<socklen_t>(to.native_size());
  return m;
}

// Waits for one. False: `error`.
bool receive(io_call& call, arrival& into, int flags, datagram& got, std::error_code& error) {
  call.is_message = true;
  for (;;) {
    const std::int32_t n = call.driver().receive_message(call, into.message(), flags);
    // 0 is an empty message, or what close() makes of a receive.
    if (n > 0 || (n == 0 && !call.closing())) return got = into.result(n), true;
    if (!call.again(n, error)) return false;
  }
}

bool send(io_call& call, const msghdr& message, std::error_code& error) {
  call.is_message = true;
  for (;;) {
    const std::int32_t n = call.driver().send_message(call, message);
    if (n >= 0) return true;
    if (!call.again(n, error)) return false;
  }
}

// What is there now, without waiting. How many.
std::size_t receive_more(handle_type fd, std::span<receive_slot> slots) noexcept {
  std::array<mmsghdr, batch> messages{};
  std::array<iovec, batch> parts;
  std::array<sockaddr_storage, batch> from;
  const std::size_t asked = std::min(slots.size(), batch);
  for (std::size_t i = 0; i < asked; ++i) {
    parts[i] = {slots[i].into.data(), slots[i].into.size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &from[i];
    messages[i].msg_hdr.msg_namelen = sizeof from[i];
  }
  // An error, if it is no lack of messages, comes at the next call: the kernel keeps it then.
  const int n = sys::receive_messages(fd, messages.data(), static_cast<unsigned>(asked));
  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const msghdr& m = messages[at].msg_hdr;
    slots[at].got = {messages[at].msg_len, endpoint::from_native(&from[at], m.msg_namelen),
                     (m.msg_flags & MSG_TRUNC) != 0};
  }
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t send_more(handle_type fd, std::span<const send_slot> slots) noexcept {
  std::array<mmsghdr, batch> messages{};
  std::array<iovec, batch> parts;
  const std::size_t asked = std::min(slots.size(), batch);
  for (std::size_t i = 0; i < asked; ++i)
    messages[i].msg_hdr = departure(parts[i], slots[i].bytes, slots[i].to);
  const int n = sys::send_messages(fd, messages.data(), static_cast<unsigned>(asked));
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

}  // namespace

datagram receive_message(descriptor* d, bytes into, bool ask_for_sender, int flags,
                         std::error_code& error) {
  datagram got;
  io_call call;
  if (!call.enter(d, &descriptor::reading, sched::wait_kind::read, error)) return got;
  arrival a(into, ask_for_sender);
  receive(call, a, flags, got, error);
  return got;
}

std::size_t send_message(descriptor* d, const_bytes from, const endpoint& to,
                         std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::writing, sched::wait_kind::write, error)) return 0;
  iovec part;
  return send(call, departure(part, from, to), error) ? from.size() : 0;
}

// The first by the driver, which waits and lets others run; the rest is there or not.
std::size_t receive_messages(descriptor* d, std::span<receive_slot> slots, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::reading, sched::wait_kind::read, error) || slots.empty())
    return 0;
  arrival first(slots[0].into, true);
  if (!receive(call, first, 0, slots[0].got, error)) return 0;
  std::size_t done = 1;
  for (std::size_t more = batch; more == batch && done < slots.size(); done += more)
    more = receive_more(call.fd(), slots.subspan(done));
  return done;
}

// One by the driver, then as many as the kernel takes without waiting; what stopped these, the next
// one finds out.
std::size_t send_messages(descriptor* d, std::span<const send_slot> slots, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::writing, sched::wait_kind::write, error)) return 0;
  std::size_t done = 0;
  while (done < slots.size()) {
    iovec part;
    if (!send(call, departure(part, slots[done].bytes, slots[done].to), error)) break;
    if (++done == slots.size()) break;
    if (call.stopped_by != sched::operation::stop::none && !call.again(-ECANCELED, error)) break;
    done += send_more(call.fd(), slots.subspan(done));
  }
  return done;
}

}  // namespace coir::io
