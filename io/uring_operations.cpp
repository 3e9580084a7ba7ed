// What uring_reactor puts into submission entries.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <new>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "accept_queue.hpp"
#include "file_calls.hpp"
#include "lent_memory.hpp"
#include "system_calls.hpp"
#include "uring_reactor.hpp"

namespace coir::io {
namespace {

// The kernel reads poll events as two 16-bit halves, the low one first.
std::uint32_t in_kernel_order(std::uint32_t events) noexcept {
  return std::endian::native == std::endian::big ? events << 16 | events >> 16 : events;
}

// False: there is no memory for the timer of a deadline.
bool room_for_deadline() noexcept {
  try {
    sched::current_host().make_room_for_deadline();
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

constexpr std::size_t most = 0x7ffff000;  // the kernel moves no more in one call

constexpr std::uint64_t current_position = ~std::uint64_t{0};

}  // namespace

// The whole of a one-shot operation.
template <class Fill, class Operation>
std::int32_t uring_reactor::run(io_call& call, Fill fill, Operation op) noexcept {
  const bool timed = call.deadline() != sched::never;
  if (!in_flight_.reserve_one() || (timed && !room_for_deadline())) return -ENOMEM;
  if (const std::int32_t refused = call.begin_operation(); refused != 0) return refused;
  // Whoever sets another one from now on finds this call, and sends a message.
  const clock::time_point deadline = call.deadline();
  if (!timed && deadline != sched::never) {  // set just now: once more, with room
    call.who().claim.finish();
    return -EINTR;
  }
  op.who = &call.who();
  op.number = in_flight_.insert({.is = &op, .what = Operation::as});
  io_uring_sqe& entry = prepare();
  entry.fd = call.fd();
  fill(entry);
  entry.user_data = op.number;

  sched::waiter& who = call.who();
  who.waits_for_id.store(static_cast<std::uint64_t>(call.fd()), std::memory_order_relaxed);
  who.waits_for.store(call.kind(), std::memory_order_relaxed);
  sched::current_host().park_operation(who, op, deadline);
  // From here on this may be another worker: nothing of `this` any more.
  who.waits_for.store(sched::wait_kind::nothing, std::memory_order_relaxed);
  who.claim.finish();
  call.stopped_by = op.stopped_by;
  return op.result;
}

void uring_reactor::stop(sched::operation& operation) noexcept {
  const std::uint64_t number = static_cast<numbered_operation&>(operation).number;
  if (in_flight_.find(number) != nullptr) cancel(number);
}

void uring_reactor::cancel(std::uint64_t number) noexcept {
  io_uring_sqe& entry = prepare();
  if (in_flight_.find(number) == nullptr) {  // it completed while room was made
    entry.opcode = IORING_OP_NOP;
    entry.user_data = ignored_number;
  } else {
    entry.opcode = IORING_OP_ASYNC_CANCEL;
    entry.addr = number;
    entry.user_data = number | cancel_mark;
  }
  if (options_.kernel.skip_success) entry.flags = IOSQE_CQE_SKIP_SUCCESS;
}

// --- operations ---

// A system call that does not wait. Nothing of `this` behind it, unless it says EAGAIN.
template <class Attempt>
std::int32_t uring_reactor::at_once(io_call& call, Attempt attempt) noexcept {
  if (const std::int32_t refused = call.hold(); refused != 0) return refused;
  const std::int32_t result = attempt();
  if (result != -EAGAIN) spend();
  return result;
}

// An operation that starts when its descriptor is ready. Where the kernel lacks it, it is a system
// call that does not wait, `attempt`, and a poll in front of the next one. So it is if the kernel
// says EAGAIN, which it may for a non-blocking descriptor.
template <class Fill, class Attempt>
std::int32_t uring_reactor::run_or_poll(io_call& call, unsigned operation, short ready, Fill fill,
                                        Attempt attempt) noexcept {
  if (call.wait_first) return wait_for(call, ready);
  std::int32_t result = 0;
  if (options_.kernel.has(operation)) [[likely]] {
    result = run(call, [&](io_uring_sqe& e) {
      e.opcode = static_cast<std::uint8_t>(operation);
      fill(e);
    });
  } else {
    result = at_once(call, attempt);
  }
  call.wait_first = result == -EAGAIN;
  return result;
}

// Without IORING_RECVSEND_POLL_FIRST: under load the next bytes are mostly there by the time of the
// submission, and polling first cost 5% of an echo.
std::int32_t uring_reactor::receive(io_call& call, std::span<std::byte> into) noexcept {
  return run_or_poll(
      call, IORING_OP_RECV, POLLIN,
      [&](io_uring_sqe& e) {
        e.addr = reinterpret_cast<std::uintptr_t>(into.data());
        e.len = static_cast<std::uint32_t>(std::min<std::size_t>(into.size(), most));
      },
      [&] { return sys::receive(call.fd(), into.data(), into.size()); });
}

std::int32_t uring_reactor::send(io_call& call, std::span<const std::byte> from) noexcept {
  return run_or_poll(
      call, IORING_OP_SEND, POLLOUT,
      [&](io_uring_sqe& e) {
        e.addr = reinterpret_cast<std::uintptr_t>(from.data());
        e.len = static_cast<std::uint32_t>(std::min<std::size_t>(from.size(), most));
        e.msg_flags = MSG_NOSIGNAL | (call.wants_all ? MSG_WAITALL : 0);
      },
      [&] { return sys::send(call.fd(), from.data(), from.size()); });
}

// A message goes by a system call, which nearly always succeeds, and never by an entry that waits:
// a ring that tries a send again goes on where the first attempt had got to, and so sends the rest
// of a message, or an empty one (Linux 6.18, a full Unix-domain receiver).
std::int32_t uring_reactor::send_message(io_call& call, const msghdr& message) noexcept {
  const auto attempt = [&] { return sys::send_message(call.fd(), message); };
  if (call.is_message) {
    if (call.wait_first)
      return is_unannounced(message) ? wait_a_while(call) : wait_for(call, POLLOUT);
    const std::int32_t result = at_once(call, attempt);
    call.wait_first = result == -EAGAIN;
    return result;
  }
  return run_or_poll(
      call, IORING_OP_SENDMSG, POLLOUT,
      [&](io_uring_sqe& e) {
        e.addr = reinterpret_cast<std::uintptr_t>(&message);
        e.len = 1;
        e.msg_flags = MSG_NOSIGNAL | (call.wants_all ? MSG_WAITALL : 0);
      },
      attempt);
}

// One operation for all sizes of gathering: what it costs more than SEND_ZC is nothing beside what
// a copy would have to cost.
std::int32_t uring_reactor::send_lending(io_call& call, const msghdr& message,
                                         lent_memory& memory) noexcept {
  if (!options_.kernel.has(IORING_OP_SENDMSG_ZC)) return -EOPNOTSUPP;
  if (call.wait_first) return wait_for(call, POLLOUT);
  lending_operation op;
  op.memory = &memory;
  const std::int32_t result = run(
      call,
      [&](io_uring_sqe& e) {
        e.opcode = IORING_OP_SENDMSG_ZC;
        e.addr = reinterpret_cast<std::uintptr_t>(&message);
        e.len = 1;
        e.msg_flags = MSG_NOSIGNAL | (call.wants_all ? MSG_WAITALL : 0);
        e.ioprio = options_.kernel.tells_copies ? send_zero_copy_report : 0;
      },
      op);
  call.wait_first = result == -EAGAIN;
  return result;
}

// Under load the next message is there, and a system call is cheaper than an entry and a park: it
// saved a fifth of a UDP echo.
std::int32_t uring_reactor::receive_message(io_call& call, msghdr& message, int flags) noexcept {
  const auto attempt = [&] { return sys::receive_message(call.fd(), message, flags); };
  if (call.is_message && !call.wait_first)
    if (const std::int32_t result = at_once(call, attempt); result != -EAGAIN) return result;
  return run_or_poll(
      call, IORING_OP_RECVMSG, POLLIN,
      [&](io_uring_sqe& e) {
        e.addr = reinterpret_cast<std::uintptr_t>(&message);
        e.len = 1;
        e.msg_flags = static_cast<std::uint32_t>(flags);
      },
      attempt);
}

// The kernel polls by itself, unless the description is O_NONBLOCK and of a kind that it would
// rather not try (a terminal).
std::int32_t uring_reactor::read(io_call& call, std::span<std::byte> into) noexcept {
  const bool shared = call.target()->through != medium::pipe;
  return run_or_poll(
      call, IORING_OP_READ, POLLIN,
      [&](io_uring_sqe& e) {
        e.off = current_position;
        e.addr = reinterpret_cast<std::uintptr_t>(into.data());
        e.len = static_cast<std::uint32_t>(std::min<std::size_t>(into.size(), most));
      },
      [&] { return sys::read_now(call.fd(), into, shared); });
}

std::int32_t uring_reactor::write(io_call& call, std::span<const iovec> from) noexcept {
  const bool shared = call.target()->through != medium::pipe;
  const bool one = from.size() == 1;
  return run_or_poll(
      call, one ? IORING_OP_WRITE : IORING_OP_WRITEV, POLLOUT,
      [&](io_uring_sqe& e) {
        e.off = current_position;
        e.addr = one ? reinterpret_cast<std::uintptr_t>(from.front().iov_base)
                     : reinterpret_cast<std::uintptr_t>(from.data());
        e.len = static_cast<std::uint32_t>(one ? std::min<std::size_t>(from.front().iov_len, most)
                                               : from.size());
      },
      [&] { return sys::write_now(call.fd(), from, shared); });
}

std::int32_t uring_reactor::accept(io_call& call) noexcept {
  return run_or_poll(
      call, IORING_OP_ACCEPT, POLLIN,
      [&](io_uring_sqe& e) { e.accept_flags = SOCK_CLOEXEC | SOCK_NONBLOCK; },
      [&] { return sys::accept(call.fd()); });
}

std::int32_t uring_reactor::connect(io_call& call, const void* address, std::size_t size) noexcept {
  if (static_cast<const sockaddr*>(address)->sa_family == AF_UNIX)
    return connect_here(call, address, size);
  return run_or_poll(
      call, IORING_OP_CONNECT, POLLOUT,
      [&](io_uring_sqe& e) {
        e.addr = reinterpret_cast<std::uintptr_t>(address);
        e.off = size;
      },
      [&]() -> std::int32_t {  // asked again when the socket is writable, it says how that went
        const int result = sys::connect(call.fd(), address, size);
        if (result == -EISCONN) return 0;
        return result == -EINPROGRESS || result == -EALREADY ? -EAGAIN : result;
      });
}

// Within the machine a connect succeeds or fails at once; while the listener's backlog is full, the
// kernel would try again and again without a pause.
std::int32_t uring_reactor::connect_here(io_call& call, const void* address,
                                         std::size_t size) noexcept {
  if (const std::int32_t refused = call.hold(); refused != 0) return refused;
  if (const std::int32_t result = sys::connect(call.fd(), address, size); result != -EAGAIN)
    return result;
  return wait_a_while(call);
}

std::int32_t uring_reactor::wait_for(io_call& call, short poll_events) noexcept {
  const bool inside =
      std::exchange(call.wait_first, false);  // part of another operation: try that one next
  const std::int32_t result = run(call, [&](io_uring_sqe& e) {
    e.opcode = IORING_OP_POLL_ADD;
    e.poll32_events = in_kernel_order(static_cast<std::uint16_t>(poll_events));
  });
  if (result < 0) return result;
  return inside ? -EAGAIN : (result & POLLNVAL) != 0 ? -EBADF : 0;
}

// For what no event tells: the caller asks again and again.
std::int32_t uring_reactor::wait_a_while(io_call& call) noexcept {
  call.wait_first = false;
  const __kernel_timespec while_long{0, unannounced_pause.count()};
  const std::int32_t result = run(call, [&](io_uring_sqe& e) {
    e.opcode = IORING_OP_TIMEOUT;
    e.addr = reinterpret_cast<std::uintptr_t>(&while_long);
    e.len = 1;
  });
  return result == -ETIME ? -EAGAIN : result;
}

bool uring_reactor::accept_ahead(handle_type listener, accept_queue& queue) noexcept {
  const bool can = options_.multishot && options_.kernel.multishot_accept &&
                   options_.kernel.has(IORING_OP_ACCEPT);
  if (!can || !in_flight_.reserve_one()) return false;
  const std::uint64_t number = in_flight_.insert({.is = &queue, .what = target::kind::repeatedly});
  io_uring_sqe& entry = prepare();
  entry.opcode = IORING_OP_ACCEPT;
  entry.fd = listener;
  entry.ioprio = IORING_ACCEPT_MULTISHOT;
  entry.accept_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
  entry.user_data = number;
  queue.armed();
  return true;
}

bool uring_reactor::takes(file_request::kind what) const noexcept {
  return what == file_request::kind::resize ? options_.kernel.resizes_files : options_.kernel.files;
}

std::int32_t uring_reactor::run_file(io_call& call, const file_request& r) noexcept {
  using kind = file_request::kind;
  return run(call, [&](io_uring_sqe& e) {
    e.fd = r.fd;
    e.off = r.offset;
    e.addr = reinterpret_cast<std::uintptr_t>(r.data);
    e.len = static_cast<std::uint32_t>(std::min<std::size_t>(r.size, most));
    switch (r.what) {
      case kind::open:
        e.opcode = IORING_OP_OPENAT;
        e.fd = AT_FDCWD;
        e.addr = reinterpret_cast<std::uintptr_t>(r.path);
        e.len = r.perms;
        e.open_flags = static_cast<std::uint32_t>(r.flags);
        break;
      case kind::read:
        e.opcode = IORING_OP_READ;
        break;
      case kind::write:
        e.opcode = IORING_OP_WRITE;
        break;
      case kind::sync:
        e.opcode = IORING_OP_FSYNC;
        break;
      case kind::sync_data:
        e.opcode = IORING_OP_FSYNC;
        e.fsync_flags = IORING_FSYNC_DATASYNC;
        break;
      case kind::status:
        e.opcode = IORING_OP_STATX;
        e.addr = reinterpret_cast<std::uintptr_t>("");
        e.len = STATX_SIZE;
        e.addr2 = reinterpret_cast<std::uintptr_t>(r.status);
        e.statx_flags = AT_EMPTY_PATH;
        break;
      case kind::resize:
        e.opcode = operation_ftruncate;
        break;
    }
  });
}

}  // namespace coir::io
