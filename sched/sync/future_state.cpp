#include <coir/sched/cancellation.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sync/future_state.hpp>

#include <cstdio>
#include <string>

#include "../fiber_of.hpp"
#include "../runtime_core.hpp"

namespace coir::sched {

namespace {

std::exception_ptr cancelled_because(std::string_view reason) noexcept {
  try {
    return std::make_exception_ptr(coir::cancelled(fiber_id{}, std::string(reason)));
  } catch (...) {  // no memory for the reason
    return std::make_exception_ptr(coir::cancelled(fiber_id{}));
  }
}

// Of a callback, which has no fiber of its own.
void report_stray(const std::exception_ptr& error) noexcept {
  host* const h = current_host_if_any();
  if (h != nullptr && h->kind == host_kind::worker && h->running != nullptr) {
    auto& w = static_cast<worker&>(*h);
    return w.core.unhandled(error, *w.current());
  }
  std::fputs("coir: a callback of on_done threw; the error is dropped\n", stderr);
}

}  // namespace

future_state::~future_state() = default;

std::exception_ptr promise_broken() noexcept {
  try {
    throw std::future_error(std::future_errc::broken_promise);
  } catch (...) {
    return std::current_exception();
  }
}

bool future_state::wait(clock::time_point deadline) {
  if (done()) return true;
  waiter& me = *current_host().running;
  cancellation_point(me);
  lock_.lock();
  if (done()) return lock_.unlock(), true;
  wait_node node;
  const outcome how = wait_in(waiters_, lock_, node, {wait_kind::future, producer()}, deadline);
  if (how == outcome::cancelled) throw_cancelled(me);
  return how == outcome::granted;
}

bool future_state::try_begin(bool for_somebody) noexcept {
  if (for_somebody && futures_.load(std::memory_order_acquire) == 0) return false;
  lock_.lock();
  const bool begun = status_.load(std::memory_order_relaxed) == status::pending;
  if (begun) status_.store(status::beginning, std::memory_order_relaxed);
  lock_.unlock();
  return begun;
}

void future_state::give_up() noexcept {
  lock_.lock();
  status_.store(status::pending, std::memory_order_relaxed);
  const bool cancel_now = cancel_again_;
  lock_.unlock();
  if (cancel_now) cancel({});
}

bool future_state::cancel(std::string_view reason) noexcept {
  if (done()) return false;
  if (ask_producer(reason)) return true;
  lock_.lock();
  const status now = status_.load(std::memory_order_relaxed);
  if (now == status::pending) {
    status_.store(status::beginning, std::memory_order_relaxed);
    cancelled_.store(true, std::memory_order_release);
  } else {
    cancel_again_ = true;
  }
  lock_.unlock();
  if (now == status::pending) settle(status::error, cancelled_because(reason));
  return now < status::value;
}

// By who has begun to, and has written the value.
void future_state::settle(status how, std::exception_ptr error) noexcept {
  retain();  // who is woken may drop every handle
  ready_list woken;
  lock_.lock();
  if (done()) return lock_.unlock(), release();
  error_.swap(error);
  status_.store(how, std::memory_order_release);
  while (waiter* w = waiters_.claim_first()) woken.push(*w);
  std::unique_ptr<callback> next = std::move(callbacks_);
  lock_.unlock();
  for (; next != nullptr; next = std::move(next->next)) call(next->function);
  wake(woken);
  release();
}

callback_id future_state::on_done(std::function<void()> f) {
  auto made = std::make_unique<callback>();
  made->function = std::move(f);
  lock_.lock();
  const callback_id id(made->id = ++last_callback_);
  if (!done()) {
    std::unique_ptr<callback>* at = &callbacks_;
    while (*at != nullptr) at = &(*at)->next;
    *at = std::move(made);
  }
  lock_.unlock();
  if (made != nullptr) call(made->function);
  return id;
}

bool future_state::remove_on_done(callback_id id) noexcept {
  std::unique_ptr<callback> gone;  // destroyed without the lock
  lock_.lock();
  std::unique_ptr<callback>* at = &callbacks_;
  while (*at != nullptr && callback_id((*at)->id) != id) at = &(*at)->next;
  if (*at != nullptr) {
    gone = std::move(*at);
    *at = std::move(gone->next);
  }
  lock_.unlock();
  return gone != nullptr;
}

void future_state::call(const std::function<void()>& f) noexcept {
  try {
    f();
  } catch (...) {
    report_stray(std::current_exception());
  }
}

}  // namespace coir::sched
