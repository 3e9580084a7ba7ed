// A driver that can start socket operations. What differs between io_uring and epoll ends here.
#pragma once
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>

#include <sys/socket.h>
#include <sys/uio.h>

#include <coir/sched/driver.hpp>

#include "file_request.hpp"
#include "io_call.hpp"

namespace coir::io {
class accept_queue;
class lent_memory;
}

namespace coir {

// Every operation: one attempt, which may park the calling fiber. On the thread of this driver, by
// its running fiber; when it returns the fiber may be elsewhere, so nothing of the driver may be
// used after a park. Returns the kernel's result or a negative errno, which the caller gives to
// io_call::again().
class reactor : public sched::driver {
 public:
  reactor* as_reactor() noexcept final { return this; }

  virtual std::int32_t receive(io::io_call&, std::span<std::byte> into) noexcept = 0;
  virtual std::int32_t send(io::io_call&, std::span<const std::byte> from) noexcept = 0;
  virtual std::int32_t send_message(io::io_call&, const msghdr&) noexcept = 0;
  // The same for bytes that the kernel sends from where they are; they are its own until the
  // lent_memory says so. -EOPNOTSUPP: it does not, here or at all.
  virtual std::int32_t send_lending(io::io_call&, const msghdr&, io::lent_memory&) noexcept {
    return -EOPNOTSUPP;
  }
  // `flags`: MSG_PEEK, MSG_CMSG_CLOEXEC or 0. Writes the message's fields, as recvmsg(2).
  virtual std::int32_t receive_message(io::io_call&, msghdr&, int flags) noexcept = 0;
  // The same for what is no socket: pipes, terminals.
  virtual std::int32_t read(io::io_call&, std::span<std::byte> into) noexcept = 0;
  virtual std::int32_t write(io::io_call&, std::span<const iovec> from) noexcept = 0;
  virtual std::int32_t accept(
      io::io_call&) noexcept = 0;  // a descriptor, close-on-exec and non-blocking
  virtual std::int32_t connect(io::io_call&, const void* address, std::size_t size) noexcept = 0;
  virtual std::int32_t wait_for(io::io_call&, short poll_events) noexcept = 0;  // 0: ready

  // Between attempts of what no event announces: room in the backlog of a Unix-domain listener, or
  // at a Unix-domain receiver that is not the sender's peer.
  static constexpr std::chrono::nanoseconds unannounced_pause = std::chrono::milliseconds(2);

  // Which operations on files it can start; the others are for threads of the pool.
  virtual bool takes(io::file_request::kind) const noexcept { return false; }
  virtual std::int32_t run_file(io::io_call&, const io::file_request&) noexcept { return -EAGAIN; }

  // A waiter that this driver has claimed in a roaming wait: ready here if it ran here last, else
  // where it may run.
  static void make_ready(sched::waiter& w, sched::ready_list& ready) noexcept {
    if (w.home.load(std::memory_order_relaxed) == sched::current_host_if_any())
      ready.push(w);
    else
      sched::wake(w);
  }

  // No event tells when there is room for it: it goes to a Unix-domain receiver that may be full,
  // and is not the peer.
  static bool is_unannounced(const msghdr& message) noexcept {
    const auto* to = static_cast<const sockaddr*>(message.msg_name);
    return to != nullptr && to->sa_family == AF_UNIX;
  }

  // Has the kernel accept into the queue until it says that it has ended. False: it cannot; use
  // accept().
  virtual bool accept_ahead(handle_type, io::accept_queue&) noexcept { return false; }

 protected:
  // After an operation that did not have to wait, as the last touch of the driver: others get a
  // turn, or a fiber whose operations never wait would keep its worker for itself.
  void spend() noexcept {
    constexpr unsigned budget = 64;  // in a row
    if (++completed_at_once_ < budget) return;
    completed_at_once_ = 0;
    sched::current_host().yield();
  }
  unsigned completed_at_once_ = 0;  // owner
};

}  // namespace coir
