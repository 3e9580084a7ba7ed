#include <coir/io/acceptor.hpp>

#include <cerrno>

#include <sys/socket.h>

#include "accept_errors.hpp"
#include "accept_queue.hpp"
#include "reactor.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

// Whether shutdown(2) ends what the kernel accepts ahead. A Unix-domain listener that has been shut
// down goes on telling non-blocking accepts to wait.
bool ends_by_shutdown(handle_type listener) noexcept {
  const int family = sys::get_option(listener, SOL_SOCKET, SO_DOMAIN);
  return family == AF_INET || family == AF_INET6;
}

}  // namespace

// While the kernel accepts ahead, its request is in no fiber's name. So the acceptor holds the
// listener's direction all the time: a closer waits until it leaves, and the kernel's request ends
// with the closer's shutdown(2).
acceptor::acceptor(handle& listener, bool ahead, std::error_code& error)
    : listener_(listener), call_(std::make_unique<io_call>()) {
  if (!call_->enter(listener.get(), &descriptor::reading, sched::wait_kind::accept, error)) return;
  if (ahead && !listener.get()->listens_on && ends_by_shutdown(call_->fd()))
    queue_ = std::make_unique<accept_queue>();
  if (const std::int32_t refused = call_->hold(); refused != 0) call_->again(refused, error);
}

acceptor::~acceptor() {
  if (queue_ == nullptr || !queue_->is_armed()) return;
  sys::shutdown(call_->fd(), SHUT_RDWR);
  queue_->drain(call_->fd());
}

handle acceptor::next(std::error_code& error) {
  error.clear();
  sched::cancellation_point(call_->who());
  for (;;) {
    if (queue_ != nullptr) {
      handle made = next_ahead(error);
      if (queue_ != nullptr) return made;
    }
    const std::int32_t result = call_->driver().accept(*call_);
    if (result >= 0) return handle(result);
    if (is_passed_over(result)) continue;
    if (!call_->again(result, error)) return {};
  }
}

// On return without a queue: the driver cannot, and nothing has happened.
handle acceptor::next_ahead(std::error_code& error) {
  for (;;) {
    std::int32_t result = 0;
    bool must_arm = false;
    if (queue_->try_pop(result, must_arm)) {
      if (result >= 0) return handle(result);
      if (!is_passed_over(result) && !call_->again(result, error)) return {};
      continue;
    }
    if (call_->closing() && !call_->again(-ECANCELED, error)) return {};
    if (must_arm && !call_->driver().accept_ahead(call_->fd(), *queue_)) {
      queue_.reset();
      return {};
    }
    if (queue_->wait(call_->fd(), true, sched::never) == sched::outcome::cancelled)
      sched::throw_cancelled(call_->who());
  }
}

}  // namespace coir::io
