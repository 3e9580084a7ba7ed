#include "epoll_reactor.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <system_error>
#include <utility>

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "epoll_calls.hpp"
#include "file_calls.hpp"
#include "probe.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

constexpr int batch = 128;  // events a system call

// descriptor::registered is the group, and whether epoll_ctl is still being called. The group is
// there first: the first event may be delivered before epoll_ctl has returned.
constexpr std::uint64_t being_made = 1;

constexpr std::uint32_t read_events = EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
constexpr std::uint32_t write_events = EPOLLOUT | EPOLLHUP | EPOLLERR;

[[noreturn]] void refuse(const char* step, int error) {
  throw std::system_error(error, std::system_category(), "coir: " + explain_refusal(step, error));
}

std::int32_t result_of(io_call& call, sched::outcome how) noexcept {
  using stop = sched::operation::stop;
  if (how == sched::outcome::granted) return -EAGAIN;
  call.stopped_by = how == sched::outcome::timed_out ? stop::deadline : stop::cancellation;
  return -ECANCELED;
}

}  // namespace

epoll_reactor::epoll_reactor(std::uint64_t group) : group_(group) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) refuse("epoll_create1", errno);
  doorbell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int error =
      doorbell_ < 0 ? errno : -sys::epoll_add(epoll_, doorbell_, EPOLLIN | EPOLLET, nullptr);
  if (error == 0) return;
  if (doorbell_ >= 0) sys::close(doorbell_);
  sys::close(epoll_);
  refuse("eventfd", error);
}

epoll_reactor::~epoll_reactor() {
  sys::close(doorbell_);
  sys::close(epoll_);
}

// --- operations ---

template <class Attempt>
std::int32_t epoll_reactor::try_or_wait(io_call& call, Attempt attempt) noexcept {
  if (const std::int32_t refused = call.hold(); refused != 0) return refused;
  const std::int32_t result = attempt();
  if (result != -EAGAIN) return spend(), result;
  descriptor& d = *call.target();
  if (const std::int32_t refused = register_once(d); refused != 0) return refused;
  return wait_ready(call, d, *call.side(), sched::never);
}

std::int32_t epoll_reactor::receive(io_call& call, std::span<std::byte> into) noexcept {
  return try_or_wait(call, [&] { return sys::receive(call.fd(), into.data(), into.size()); });
}
std::int32_t epoll_reactor::send(io_call& call, std::span<const std::byte> from) noexcept {
  return try_or_wait(call, [&] { return sys::send(call.fd(), from.data(), from.size()); });
}
std::int32_t epoll_reactor::send_message(io_call& call, const msghdr& message) noexcept {
  const auto attempt = [&] { return sys::send_message(call.fd(), message); };
  if (!is_unannounced(message)) return try_or_wait(call, attempt);
  if (const std::int32_t refused = call.hold(); refused != 0) return refused;
  const std::int32_t result = attempt();
  return result != -EAGAIN ? (spend(), result) : wait_a_while(call);
}
std::int32_t epoll_reactor::receive_message(io_call& call, msghdr& message, int flags) noexcept {
  return try_or_wait(call, [&] { return sys::receive_message(call.fd(), message, flags); });
}
std::int32_t epoll_reactor::read(io_call& call, std::span<std::byte> into) noexcept {
  const bool shared = call.target()->through != medium::pipe;
  return try_or_wait(call, [&] { return sys::read_now(call.fd(), into, shared); });
}
std::int32_t epoll_reactor::write(io_call& call, std::span<const iovec> from) noexcept {
  const bool shared = call.target()->through != medium::pipe;
  return try_or_wait(call, [&] { return sys::write_now(call.fd(), from, shared); });
}
std::int32_t epoll_reactor::accept(io_call& call) noexcept {
  return try_or_wait(call, [&] { return sys::accept(call.fd()); });
}

// wait_first: the connection is being made, and readiness to write tells how it went.
std::int32_t epoll_reactor::connect(io_call& call, const void* address, std::size_t size) noexcept {
  if (call.wait_first)
    return try_or_wait(call, [&]() -> std::int32_t {
      if (!sys::ready_now(call.fd(), POLLOUT)) return -EAGAIN;
      const int error = sys::get_option(call.fd(), SOL_SOCKET, SO_ERROR);
      return error > 0 ? -error : error;
    });
  if (const std::int32_t refused = call.hold(); refused != 0) return refused;
  const int result = sys::connect(call.fd(), address, size);
  if (result == -EINPROGRESS || result == -EINTR) {
    call.wait_first = true;
    return -EAGAIN;
  }
  // The backlog of a Unix-domain listener is full, of which no event tells.
  return result != -EAGAIN ? result : wait_a_while(call);
}

// For what no event tells: the caller asks again and again. It holds its direction.
std::int32_t epoll_reactor::wait_a_while(io_call& call) noexcept {
  const std::int32_t waited =
      wait_ready(call, *call.target(), *call.side(), clock::now() + unannounced_pause);
  return call.stopped_by == sched::operation::stop::deadline ? -EAGAIN : waited;
}

// Foreign descriptors are registered for one event and one call; a descriptor of ours stands for
// them.
std::int32_t epoll_reactor::wait_for(io_call& call, short poll_events) noexcept {
  if (call.target() != nullptr)  // one of ours, which is registered for all its calls
    return try_or_wait(call, [&] { return sys::ready_now(call.fd(), poll_events) ? 0 : -EAGAIN; });
  call.stopped_by = sched::operation::stop::none;
  descriptor* stand_in = nullptr;
  try {
    stand_in = make_descriptor(call.fd());
  } catch (const std::bad_alloc&) {
    return -ENOMEM;
  }
  stand_in->registered.store(group_ << 1, std::memory_order_relaxed);
  used_.store(true, std::memory_order_relaxed);
  int fd = call.fd(), copy = -1;
  const auto events = static_cast<std::uint32_t>(poll_events) | EPOLLRDHUP | EPOLLONESHOT;
  std::int32_t result = sys::epoll_add(epoll_, fd, events, stand_in);
  if (result == -EEXIST) {  // somebody else waits for it: an instance takes a number once, but a
                            // copy of it too
    copy = sys::duplicate(fd);
    fd = copy;
    result = copy < 0 ? copy : sys::epoll_add(epoll_, fd, events, stand_in);
  }
  if (result == 0) {
    direction& side = (poll_events & POLLIN) != 0 ? stand_in->reading : stand_in->writing;
    result = wait_ready(call, *stand_in, side, sched::never);
    if (result == -EAGAIN) result = 0;
    sys::epoll_remove(epoll_, fd);  // on whatever worker this is by now
  } else if (result == -EPERM) {
    result = 0;  // a regular file: always ready
  }
  if (copy >= 0) sys::close(copy);
  stand_in->registered.store(0, std::memory_order_relaxed);
  release(*stand_in);
  return result;
}

// `this` is the worker on which the wait begins; it may end on another, so nothing of it is used
// afterwards.
std::int32_t epoll_reactor::wait_ready(io_call& call, descriptor& d, direction& side,
                                       clock::time_point at_most) noexcept {
  completed_at_once_ = 0;
  d.lock.lock();
  // Closers and those who move deadlines store first and take this lock afterwards.
  if (side.is_closing() || std::exchange(side.ready, false)) {
    d.lock.unlock();
    return -EAGAIN;
  }
  sched::wait_node node;
  const sched::wait_reason why{
      .kind = call.kind(), .id = static_cast<std::uint64_t>(call.fd()), .cancellable = true};
  try {
    return result_of(
        call, sched::wait_in(side.waiting, d.lock, node, why, std::min(call.deadline(), at_most)));
  } catch (const std::bad_alloc&) {  // no room for the deadline's timer
    return -ENOMEM;
  }
}

// --- registration ---

std::int32_t epoll_reactor::register_once(descriptor& d) noexcept {
  std::uint64_t now = d.registered.load(std::memory_order_acquire);
  for (unsigned turn = 0; now >> 1 != group_ || (now & being_made) != 0; ++turn) {
    if ((now & being_made) == 0 && d.registered.compare_exchange_strong(
                                       now, group_ << 1 | being_made, std::memory_order_acq_rel)) {
      used_.store(true, std::memory_order_relaxed);
      const std::int32_t result =
          sys::epoll_add(epoll_, d.fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &d);
      if (result == 0) d.epoll.store(epoll_, std::memory_order_relaxed);
      d.registered.store(result == 0 ? group_ << 1 : 0, std::memory_order_release);
      return result;
    }
    sched::std_atomics::pause(turn);  // the other direction is at it: the time of a system call
    now = d.registered.load(std::memory_order_acquire);
  }
  return 0;
}

// --- events ---

void epoll_reactor::deliver(descriptor& d, std::uint32_t events,
                            sched::ready_list& ready) noexcept {
  // Closed meanwhile, or known to another runtime now. If the descriptor serves another socket of
  // this one already, the call that is woken finds nothing and waits again.
  if (d.registered.load(std::memory_order_acquire) >> 1 != group_) return;
  const auto tell = [](direction& side) noexcept {
    sched::waiter* w = side.waiting.claim_first();
    side.ready = w == nullptr;
    return w;
  };
  d.lock.lock();
  sched::waiter* const reader = (events & read_events) != 0 ? tell(d.reading) : nullptr;
  sched::waiter* const writer = (events & write_events) != 0 ? tell(d.writing) : nullptr;
  d.lock.unlock();
  if (reader != nullptr) make_ready(*reader, ready);
  if (writer != nullptr) make_ready(*writer, ready);
}

void epoll_reactor::collect(clock::time_point deadline, sched::ready_list& ready) noexcept {
  completed_at_once_ = 0;
  epoll_event events[batch];
  const int count = sys::epoll_wait_until(epoll_, events, batch, deadline);
  if (count < 0 && count != -EINTR) sys::descriptor_is_lost("the epoll instance", epoll_, count);
  for (int i = 0; i < count; ++i) {
    if (events[i].data.ptr == nullptr) {
      interrupted_ = true;
      rung_.exchange(false, std::memory_order_acq_rel);
    } else {
      deliver(*static_cast<descriptor*>(events[i].data.ptr), events[i].events, ready);
    }
  }
}

void epoll_reactor::poll(sched::ready_list& ready) noexcept {
  collect(clock::time_point::min(), ready);
}

void epoll_reactor::wait(clock::time_point deadline, sched::ready_list& ready) noexcept {
  collect(interrupted_ ? clock::time_point::min() : deadline, ready);
  interrupted_ = false;
}

void epoll_reactor::interrupt() noexcept {
  if (rung_.exchange(true, std::memory_order_acq_rel))
    return;  // the last ring has not been seen yet
  for (unsigned turn = 0;; ++turn) {
    const int result = sys::ring(doorbell_);
    if (result >= 0) return;
    if (result != -EINTR && result != -EAGAIN && result != -ENOMEM)
      sys::descriptor_is_lost("the doorbell", doorbell_, result);
    sched::std_atomics::pause(turn);  // short of memory: the target must not sleep on
  }
}

}  // namespace coir::io
