#include "handle_passing.hpp"

#include <cstring>

#include <sys/socket.h>

#include "reactor.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

constexpr std::size_t most = 253;  // SCM_MAX_FD: a message carries no more

// One byte, and beside it descriptors.
template <std::size_t Count>
class envelope {
 public:
  envelope() noexcept {
    message_.msg_iov = &part_;
    message_.msg_iovlen = 1;
  }
  envelope(const envelope&) = delete;
  envelope& operator=(const envelope&) = delete;

  // For each attempt anew: the kernel writes into it.
  msghdr& message() noexcept {
    message_.msg_control = control_;
    message_.msg_controllen = sizeof control_;
    return message_;
  }

  void put(handle_type fd) noexcept {
    cmsghdr* const head = CMSG_FIRSTHDR(&message());
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  }

  // The one that has come. All that have come belong to this process now, so what is not wanted is
  // closed. Truncated: the process cannot have as many descriptors, and the kernel has dropped
  // them.
  handle_type take(std::error_code& error) noexcept {
    handle_type last = -1;
    std::size_t count = 0;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message_); c != nullptr; c = CMSG_NXTHDR(&message_, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      for (std::size_t at = 0; at + sizeof last <= c->cmsg_len - CMSG_LEN(0); at += sizeof last) {
        if (count++ != 0) sys::close(last);
        std::memcpy(&last, CMSG_DATA(c) + at, sizeof last);
      }
    }
    const bool truncated = (message_.msg_flags & MSG_CTRUNC) != 0;
    if (count == 1 && !truncated) return last;
    if (count != 0) sys::close(last);
    error =
        std::make_error_code(truncated ? std::errc::too_many_files_open : std::errc::bad_message);
    return -1;
  }

 private:
  char byte_ = 0;
  iovec part_{&byte_, 1};
  msghdr message_{};
  alignas(cmsghdr) char control_[CMSG_SPACE(Count * sizeof(handle_type))] = {};
};

}  // namespace

void send_handle(descriptor* d, handle_type fd, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::writing, sched::wait_kind::write, error)) return;
  call.is_message = true;
  envelope<1> sent;
  sent.put(fd);
  for (;;) {
    const std::int32_t n = call.driver().send_message(call, sent.message());
    if (n > 0) return call.moved(static_cast<std::size_t>(n));
    if (!call.again(n, error)) return;
  }
}

handle_type receive_handle(descriptor* d, std::error_code& error) {
  io_call call;
  if (!call.enter(d, &descriptor::reading, sched::wait_kind::read, error)) return -1;
  envelope<most> got;
  for (;;) {
    const std::int32_t n = call.driver().receive_message(call, got.message(), MSG_CMSG_CLOEXEC);
    if (n > 0) return call.moved(static_cast<std::size_t>(n)), got.take(error);
    if (n == 0 && !call.closing()) return -1;
    if (!call.again(n, error)) return -1;
  }
}

}  // namespace coir::io
