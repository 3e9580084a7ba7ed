#include <coir/sched/cancellation.hpp>
#include <coir/sched/cancelled.hpp>

#include <unistd.h>

#include <new>

#include <coir/coroutine/coroutine_frame.hpp>

#include "delivery.hpp"
#include "fatal.hpp"
#include "fiber_extras.hpp"
#include "fiber_of.hpp"
#include "worker.hpp"

namespace coir::sched {

namespace {

// In a coroutine: whether whoever resumed it, or resumed that one, was unwinding.
bool resumer_unwinds(const waiter& w) noexcept {
  for (const coroutine_frame* c = w.coroutine; c != nullptr; c = c->below)
    if (c->resumer.uncaught != 0) return true;
  return false;
}

}  // namespace

bool may_be_cancelled(const waiter& w) noexcept {
  const host* home = w.home.load(std::memory_order_relaxed);
  if (home->kind != host_kind::worker) return false;
  return static_cast<const fiber_record&>(w).shields == 0 &&
         !static_cast<const worker*>(home)->unwinding() && !resumer_unwinds(w);
}

void cancellation_point_slow(waiter& w) {
  check_may_suspend(w);
  if ((w.attention.load(std::memory_order_relaxed) & timed) != 0)
    expire_timeouts(static_cast<fiber_record&>(w), clock::now());
  if (strikes_now(w.attention.load(std::memory_order_acquire)) && may_be_cancelled(w))
    throw_cancelled(w);
}

void throw_cancelled(waiter& w) { throw delivery::take(static_cast<fiber_record&>(w)); }

void refuse_to_suspend(const waiter& w) noexcept {
  // Its thread was left behind with it, and everybody has been told that it never ends.
  if ((w.attention.load(std::memory_order_relaxed) & given_up) != 0)
    for (;;) ::pause();
  fatal("fiber %llu made a blocking call in a no_suspend_scope",
        static_cast<unsigned long long>(fiber_number(&w)));
}

void note_reason(fiber_record& f, std::string_view reason) noexcept {
  if (reason.empty()) return;
  try {
    fiber_extras& e = extras_of(f);
    std::string text(reason);
    e.lock.lock();
    if (!std::exchange(e.has_reason, true)) e.reason.swap(text);
    e.lock.unlock();
  } catch (...) {  // for want of memory it is cancelled without a reason
  }
}

std::string take_reason(fiber_record& f) {
  std::string reason;
  if (fiber_extras* e = f.extras.load(std::memory_order_acquire)) {
    e->lock.lock();
    reason.swap(e->reason);
    e->has_reason = false;
    e->lock.unlock();
  }
  return reason;
}

// The lock is let go of for the allocation; the first reason stays, so it is the same afterwards.
// For want of memory there is none.
std::string reason_of(const fiber_record& f) noexcept {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr) return {};
  std::string reason;
  e->lock.lock();
  const std::size_t size = e->reason.size();
  e->lock.unlock();
  try {
    reason.reserve(size);
  } catch (const std::bad_alloc&) {
    return reason;
  }
  e->lock.lock();
  reason.assign(e->reason, 0, size);
  e->lock.unlock();
  return reason;
}

void request_stop(fiber_record& f) noexcept {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr) return;
  std::optional<std::stop_source> source;
  e->lock.lock();
  if (delivery::pending_locked(f, *e)) source = e->stop;
  e->lock.unlock();
  if (source) source->request_stop();
}

void stop_given_token(fiber_record& f) noexcept {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr) return;
  e->lock.lock();
  std::optional<std::stop_source> source = e->stop;
  e->lock.unlock();
  if (source) source->request_stop();
}

}  // namespace coir::sched
