#include "fault_shim.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <mutex>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <coir/sched/host.hpp>

#include "io/ring.hpp"

namespace coir::testing::faults {
namespace {

struct ring_operation {
  unsigned number;
  const char* site;
};
constexpr ring_operation ring_operations[] = {
    {IORING_OP_NOP, "uring:nop"},
    {IORING_OP_RECV, "uring:recv"},
    {IORING_OP_SEND, "uring:send"},
    {IORING_OP_SENDMSG, "uring:sendmsg"},
    {IORING_OP_SENDMSG_ZC, "uring:sendmsg_zc"},
    {IORING_OP_RECVMSG, "uring:recvmsg"},
    {IORING_OP_ACCEPT, "uring:accept"},
    {IORING_OP_CONNECT, "uring:connect"},
    {IORING_OP_POLL_ADD, "uring:poll"},
    {IORING_OP_READ, "uring:read"},
    {IORING_OP_WRITE, "uring:write"},
    {IORING_OP_TIMEOUT, "uring:timeout"},
    {IORING_OP_ASYNC_CANCEL, "uring:cancel"},
    {IORING_OP_OPENAT, "uring:openat"},
    {IORING_OP_FSYNC, "uring:fsync"},
    {IORING_OP_SPLICE, "uring:splice"},
    {IORING_OP_WRITEV, "uring:writev"},
    {IORING_OP_STATX, "uring:statx"},
    {50, "uring:waitid"},
    {55, "uring:ftruncate"},
};

// Sites by name; the number of one is where it stands. Under the lock.
struct state {
  std::mutex lock;
  std::map<std::string, unsigned, std::less<>> counts;
  fault armed;
  unsigned struck = 0;
};
state& shared() {
  static state s;
  return s;
}

[[gnu::noinline]] bool on_worker() {
  const sched::host* here = sched::current_host_if_any();
  return here != nullptr && here->kind != sched::host_kind::thread;
}

// Counts a call at the site; what is to be injected there now, or 0.
int strike(const char* site) {
  if (!on_worker()) return 0;
  state& s = shared();
  const std::lock_guard lock(s.lock);
  const unsigned before = s.counts[site]++;
  if (s.armed.error == 0 || s.armed.site != site || before < s.armed.after ||
      before >= s.armed.after + s.armed.times)
    return 0;
  ++s.struck;
  return s.armed.error;
}

template <class F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name));
}

// The call of a C function: the kernel's answer, or the fault's.
template <class R, class... A>
R ask(R (*self)(A...), const char* name, std::type_identity_t<A>... a) {
  R (*const real)(A...) = next(self, name);
  const int error = strike(name);
  if (error <= 0) return real(a...);
  errno = error;
  return static_cast<R>(-1);
}
// The same for what the kernel does all the same.
template <class R, class... A>
R tell(R (*self)(A...), const char* name, std::type_identity_t<A>... a) {
  const R result = next(self, name)(a...);
  const int error = strike(name);
  if (error <= 0 || result < 0) return result;
  errno = error;
  return static_cast<R>(-1);
}

template <class F>
ssize_t move_bytes(const char* site, std::size_t size, F&& f) {
  const int error = strike(site);
  if (error > 0) return errno = error, -1;
  return f(error == fault::short_count ? std::min<std::size_t>(size, 1) : size);
}

// --- rings

// Each ring by its owner's thread, who is the only one to enter it.
std::mutex rings_lock;
std::vector<io_uring*> rings;  // under rings_lock
thread_local io_uring* registered = nullptr;

io_uring* ring_of(int fd, unsigned flags) {
  if ((flags & IORING_ENTER_REGISTERED_RING) != 0) return registered;
  const std::lock_guard lock(rings_lock);
  for (io_uring* r : rings)
    if (r->ring_fd == fd) return r;
  return nullptr;
}

// Entries that were taken from the kernel: the answer that each gets instead.
thread_local std::vector<std::pair<std::uint64_t, int>> answers;

// Read by the kernel when it takes the entry.
thread_local struct {
  msghdr message;
  iovec part;
} shortened;

void shorten(io_uring_sqe& e) {
  if (e.opcode == IORING_OP_SENDMSG || e.opcode == IORING_OP_SENDMSG_ZC ||
      e.opcode == IORING_OP_RECVMSG) {
    msghdr of{};
    std::memcpy(&of, reinterpret_cast<const void*>(e.addr), sizeof of);
    if (of.msg_iovlen == 0) return;
    shortened.part = {of.msg_iov[0].iov_base, std::min<std::size_t>(of.msg_iov[0].iov_len, 1)};
    shortened.message = of;
    shortened.message.msg_iov = &shortened.part;
    shortened.message.msg_iovlen = 1;
    if (e.opcode != IORING_OP_RECVMSG)
      e.addr = reinterpret_cast<std::uintptr_t>(&shortened.message);
  } else if (e.len != 0) {
    e.len = 1;
  }
}

// The reactor's own read, which no call of a user is.
constexpr std::uint64_t doorbell = ~std::uint64_t{0};

void inject(io_uring_sqe& e) {
  for (const ring_operation& op : ring_operations) {
    if (op.number != e.opcode) continue;
    const int error = strike(e.user_data == doorbell ? "uring:doorbell" : op.site);
    if (error == fault::short_count) return shorten(e);
    if (error == fault::last) {
      e.ioprio = static_cast<std::uint16_t>(e.ioprio & ~IORING_ACCEPT_MULTISHOT);
      return;
    }
    if (error == 0) return;
    answers.emplace_back(e.user_data, -error);
    const std::uint64_t user_data = e.user_data;
    std::memset(&e, 0, sizeof e);
    e.opcode = IORING_OP_NOP;
    e.user_data = user_data;
    return;
  }
}

void inject_into(io_uring& r, unsigned count) {
  const unsigned head = __atomic_load_n(r.sq.khead, __ATOMIC_ACQUIRE);
  for (unsigned i = 0; i < count; ++i) inject(r.sq.sqes[(head + i) & r.sq.ring_mask]);
}

void answer_in(io_uring& r) {
  if (answers.empty()) return;
  const unsigned tail = __atomic_load_n(r.cq.ktail, __ATOMIC_ACQUIRE);
  for (unsigned head = *r.cq.khead; head != tail; ++head) {
    io_uring_cqe& done = r.cq.cqes[head & r.cq.ring_mask];
    for (auto a = answers.begin(); a != answers.end(); ++a)
      if (a->first == done.user_data) {
        done.res = a->second;
        answers.erase(a);
        break;
      }
  }
}

}  // namespace

std::string to_string(const fault& f) {
  const char* what = f.error == fault::short_count ? "a short count"
                     : f.error == fault::last      ? "no more"
                                                   : ::strerrorname_np(f.error);
  return f.site + " says " + (what != nullptr ? what : "?") + " after " + std::to_string(f.after) +
         (f.times == 1 ? "" : ", " + std::to_string(f.times) + " times");
}

void arm(const fault& f) {
  state& s = shared();
  const std::lock_guard lock(s.lock);
  s.counts.clear();
  s.armed = f;
  s.struck = 0;
}
unsigned disarm() {
  state& s = shared();
  const std::lock_guard lock(s.lock);
  s.armed = {};
  return s.struck;
}
std::map<std::string, unsigned> counted() {
  state& s = shared();
  const std::lock_guard lock(s.lock);
  return {s.counts.begin(), s.counts.end()};
}
void forget() { arm({}); }

}  // namespace coir::testing::faults

// --- the functions in place of the C library's and liburing's, one line each

using namespace coir::testing::faults;

extern "C" {

int socket(int family, int type, int protocol) noexcept {
  return ask(&::socket, "socket", family, type, protocol);
}
int socketpair(int family, int type, int protocol, int fds[2]) noexcept {
  return ask(&::socketpair, "socketpair", family, type, protocol, fds);
}
int bind(int fd, const sockaddr* at, socklen_t size) noexcept {
  return ask(&::bind, "bind", fd, at, size);
}
int listen(int fd, int backlog) noexcept { return ask(&::listen, "listen", fd, backlog); }
int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  return ask(&::setsockopt, "setsockopt", fd, level, name, value, size);
}
int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  return ask(&::getsockopt, "getsockopt", fd, level, name, value, size);
}
int getsockname(int fd, sockaddr* at, socklen_t* size) noexcept {
  return ask(&::getsockname, "getsockname", fd, at, size);
}
int getpeername(int fd, sockaddr* at, socklen_t* size) noexcept {
  return ask(&::getpeername, "getpeername", fd, at, size);
}
int shutdown(int fd, int how) noexcept { return tell(&::shutdown, "shutdown", fd, how); }
int close(int fd) { return tell(&::close, "close", fd); }
int accept4(int fd, sockaddr* at, socklen_t* size, int flags) {
  return ask(&::accept4, "accept4", fd, at, size, flags);
}
// Interrupted, it goes on by itself; within the machine it does not wait and cannot be.
int connect(int fd, const sockaddr* to, socklen_t size) {
  static const auto real = next(&::connect, "connect");
  const int error = strike("connect");
  if (error <= 0 || (error == EINTR && to->sa_family == AF_UNIX)) return real(fd, to, size);
  if (error == EINTR) (void)real(fd, to, size);
  errno = error;
  return -1;
}
int poll(pollfd* fds, nfds_t count, int timeout) {
  return ask(&::poll, "poll", fds, count, timeout);
}
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  return operation == EPOLL_CTL_ADD ? ask(&::epoll_ctl, "epoll_ctl", epoll, operation, fd, event)
                                    : tell(&::epoll_ctl, "epoll_ctl", epoll, operation, fd, event);
}
int epoll_wait(int epoll, epoll_event* events, int room, int timeout) {
  return ask(&::epoll_wait, "epoll_wait", epoll, events, room, timeout);
}
int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  const long argument = va_arg(rest, long);
  va_end(rest);
  static const auto real = next(static_cast<int (*)(int, int, ...)>(&::fcntl), "fcntl64");
  if (const int error = strike("fcntl"); error > 0) return errno = error, -1;
  return real(fd, command, argument);
}
ssize_t recv(int fd, void* into, std::size_t size, int flags) {
  static const auto real = next(&::recv, "recv");
  return move_bytes("recv", size, [&](std::size_t n) { return real(fd, into, n, flags); });
}
ssize_t send(int fd, const void* from, std::size_t size, int flags) {
  static const auto real = next(&::send, "send");
  return move_bytes("send", size, [&](std::size_t n) { return real(fd, from, n, flags); });
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto real = next(&::sendmsg, "sendmsg");
  const std::size_t first = message->msg_iovlen != 0 ? message->msg_iov[0].iov_len : 0;
  return move_bytes("sendmsg", first, [&](std::size_t n) {
    if (n == first) return real(fd, message, flags);
    iovec part{message->msg_iov[0].iov_base, n};
    msghdr shorter = *message;
    shorter.msg_iov = &part;
    shorter.msg_iovlen = 1;
    return real(fd, &shorter, flags);
  });
}
ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return ask(&::recvmsg, "recvmsg", fd, message, flags);
}
ssize_t read(int fd, void* into, std::size_t size) {
  static const auto real = next(&::read, "read");
  return move_bytes("read", size, [&](std::size_t n) { return real(fd, into, n); });
}
ssize_t writev(int fd, const iovec* parts, int count) {
  return ask(&::writev, "writev", fd, parts, count);
}
ssize_t preadv2(int fd, const iovec* parts, int count, off_t at, int flags) {
  return ask(&::preadv2, "preadv64v2", fd, parts, count, at, flags);
}
ssize_t pwritev2(int fd, const iovec* parts, int count, off_t at, int flags) {
  return ask(&::pwritev2, "pwritev64v2", fd, parts, count, at, flags);
}
int pipe2(int ends[2], int flags) noexcept { return ask(&::pipe2, "pipe2", ends, flags); }
ssize_t write(int fd, const void* from, std::size_t size) {
  static const auto real = next(&::write, "write");
  return move_bytes("write", size, [&](std::size_t n) { return real(fd, from, n); });
}

int io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* how) {
  static const auto real = next(&::io_uring_queue_init_params, "io_uring_queue_init_params");
  const int result = real(entries, ring, how);
  const std::lock_guard lock(rings_lock);
  if (result == 0) rings.push_back(ring);
  return result;
}
void io_uring_queue_exit(io_uring* ring) {
  static const auto real = next(&::io_uring_queue_exit, "io_uring_queue_exit");
  {
    const std::lock_guard lock(rings_lock);
    std::erase(rings, ring);
  }
  real(ring);
}
int io_uring_register_ring_fd(io_uring* ring) {
  static const auto real = next(&::io_uring_register_ring_fd, "io_uring_register_ring_fd");
  registered = ring;
  return real(ring);
}

// As any function of six words: what the kernel reads of them depends on the number.
long syscall(long number, ...) noexcept {
  std::array<long, 6> a{};
  va_list rest;
  va_start(rest, number);
  for (long& one : a) one = va_arg(rest, long);
  va_end(rest);
  static const auto real = next(&::syscall, "syscall");
  const auto call = [&] { return real(number, a[0], a[1], a[2], a[3], a[4], a[5]); };
  const char* const site = number == __NR_io_uring_enter      ? "io_uring_enter"
                           : number == __NR_io_uring_register ? "io_uring_register"
                           : number == 441                    ? "epoll_pwait2"
                                                              : nullptr;
  if (site == nullptr) return call();
  if (const int error = strike(site); error > 0) return errno = error, -1;
  if (number != __NR_io_uring_enter || !on_worker()) return call();
  io_uring* const ring = ring_of(static_cast<int>(a[0]), static_cast<unsigned>(a[3]));
  if (ring == nullptr) return call();
  inject_into(*ring, static_cast<unsigned>(a[1]));
  const long result = call();
  const int error = errno;
  answer_in(*ring);
  errno = error;
  return result;
}

}  // extern "C"
