#include <coir/sched/scope.hpp>

#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sched/task.hpp>

#include "delivery.hpp"
#include "fiber_extras.hpp"
#include "fiber_of.hpp"
#include "runtime_core.hpp"
#include "worker.hpp"

namespace coir::sched {

namespace {

// The nearest of the open timeouts that have not expired.
clock::time_point earliest_locked(const fiber_extras& e) noexcept {
  clock::time_point first = never;
  for (const scope* s = e.innermost; s != nullptr; s = s->outer)
    if (s->kind == scope_kind::timeout && !s->expired && s->deadline < first) first = s->deadline;
  return first;
}

// Lock held. An alarm that is set too early strikes in vain and sets itself anew: so a loop of
// short timeouts sets one now and then, and not at each turn. `here` has room for a deadline; null:
// it has none. True: the alarm should be earlier than it is, and could not be set.
bool set_alarm_locked(fiber_extras& e, worker* here) noexcept {
  const clock::time_point first = earliest_locked(e);
  e.timeouts.due.store(first.time_since_epoch().count(), std::memory_order_relaxed);
  const clock::time_point set = e.timeouts.when();
  if (set <= first) return false;
  if (here == nullptr) return true;
  if (set != never && !e.timeouts.unset(here)) return false;  // it strikes now, and sees to it
  e.timeouts.set(*here, first);
  return false;
}

// Lock held. The one bit that says what the open scopes want, for those who see no list.
void publish_requests_locked(fiber_record& f, const fiber_extras& e) noexcept {
  bool asks = false, timeouts = false, shields = false;
  for (const scope* s = e.innermost; s != nullptr; s = s->outer) {
    if (s->kind == scope_kind::shield) shields = true;
    asks |= s->pending && !shields;
    timeouts |= s->kind == scope_kind::timeout && !s->expired;
  }
  const std::uint32_t set =
      (asks ? scope_requested : 0u) | (timeouts ? timed : 0u) | (shields ? shielded : 0u);
  const std::uint32_t now = f.attention.load(std::memory_order_relaxed);
  constexpr std::uint32_t ours = scope_requested | timed | shielded;
  if (const std::uint32_t gone = now & ours & ~set) f.attention.fetch_and(~gone);
  if (const std::uint32_t more = set & ~now) f.attention.fetch_or(more);
}

// Lock held. True: something has expired now.
bool expire_locked(fiber_extras& e, clock::time_point now) noexcept {
  bool any = false;
  for (scope* s = e.innermost; s != nullptr; s = s->outer)
    if (s->kind == scope_kind::timeout && !s->expired && s->deadline <= now)
      s->expired = s->pending = any = true;
  return any;
}

worker* worker_here() noexcept {
  host* h = current_host_if_any();
  return h != nullptr && h->kind == host_kind::worker ? static_cast<worker*>(h) : nullptr;
}

runtime_core* core_of(const fiber_record& f) noexcept {  // by who counts as a sender
  return record_slab::of(f).store->owner.load(std::memory_order_seq_cst);
}

// What cannot be done where it is found to be necessary is done by a fiber of its own. Throws what
// spawn throws.
template <class F>
void start_on_a_fiber(runtime_core& core, fiber_record& f, F what) {
  struct held {
    explicit held(fiber_record& of) noexcept : record(&of) { hold(of); }
    held(held&& other) noexcept : record(std::exchange(other.record, nullptr)) {}
    ~held() {
      if (record != nullptr) let_go(*record);
    }
    fiber_record* record;
  };
  spawn_options named{.name = "timeout"};
  spawn_in(spawn_request{&core, &named}, [h = held(f), what] { what(*h.record); }).detach();
}
template <class F>
void on_a_fiber(runtime_core& core, fiber_record& f, F what) noexcept {
  try {
    start_on_a_fiber(core, f, what);
  } catch (...) {  // the runtime ends, and has told everybody; or there is no memory
  }
}

// On a fiber, for another one.
void set_alarm_here(fiber_record& of) {
  auto& here = static_cast<worker&>(current_host());
  here.make_room_for_deadline();
  fiber_extras& e = *of.extras.load(std::memory_order_acquire);
  e.lock.lock();
  set_alarm_locked(e, &here);
  e.lock.unlock();
}

// In the heap that the alarm was in an entry has come free; but this may be a rescuer's.
bool has_room(worker& by) noexcept {
  try {
    by.make_room_for_deadline();
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

// The alarm's function, on a worker's loop. The fiber may have closed its scopes meanwhile, ended,
// and be another one: then there is nothing due.
void strike(alarm& a, worker& by) noexcept {
  auto& mine = static_cast<fiber_extras::timeout_alarm&>(a);
  fiber_record& f = mine.of;
  fiber_extras& e = *f.extras.load(std::memory_order_acquire);
  const clock::time_point now = clock::now();
  if (!has_room(by)) return by.core.late_alarms.add(a);
  e.lock.lock();
  mine.has_struck();
  const bool asks = expire_locked(e, now);
  if (asks) {
    publish_requests_locked(f, e);
    hold(f);  // it has a scope open, so it lives
  }
  set_alarm_locked(e, &by);
  const bool tell = asks && e.stop.has_value();
  e.lock.unlock();
  if (!asks) return;
  by.core.request_cancellation(f, 0);
  if (tell) on_a_fiber(by.core, f, [](fiber_record& of) { request_stop(of); });
  let_go(f);
}

}  // namespace

fiber_extras::timeout_alarm::timeout_alarm(fiber_record& f) noexcept
    : alarm(&sched::strike), of(f) {}

open_here::open_here() noexcept {
  fiber_record* const f = running_fiber();
  if (f == nullptr) return;
  on_ = f->id();
  ++f->scopes;
}

open_here::~open_here() {
  fiber_record* const f = running_fiber();
  if (f != nullptr && f->id() == on_) --f->scopes;
}

bool on_fiber() noexcept {
  const worker* w = worker_here();
  return w != nullptr && w->current() != nullptr;
}

void open_scope(scope& s, scope_kind kind, clock::time_point deadline, const char* call) {
  worker* w = worker_here();
  fiber_record* f = w != nullptr ? w->current() : nullptr;
  if (f == nullptr)
    throw std::system_error(
        std::make_error_code(std::errc::operation_not_permitted),
        std::string("coir: ") + call + " was called on a plain thread: call it inside coir::run");
  fiber_extras& e = extras_of(*f);
  const bool timeout = kind == scope_kind::timeout;
  if (timeout) w->make_room_for_deadline();
  s.kind = kind;
  s.of = f;
  s.deadline = deadline;
  s.expired = s.pending = timeout && deadline != never && deadline <= clock::now();
  ++f->scopes;
  e.lock.lock();
  s.outer = e.innermost;
  e.innermost = &s;
  if (timeout) set_alarm_locked(e, w);
  publish_requests_locked(*f, e);
  e.lock.unlock();
}

void close_scope(scope& s) noexcept {
  fiber_record& f = *s.of;
  fiber_extras& e = *f.extras.load(std::memory_order_acquire);
  --f.scopes;
  e.lock.lock();
  e.innermost = s.outer;
  publish_requests_locked(f, e);
  e.lock.unlock();
}

void request_of(scope& s) noexcept {
  fiber_record& f = *s.of;
  fiber_extras& e = *f.extras.load(std::memory_order_acquire);
  e.lock.lock();
  s.pending = true;
  publish_requests_locked(f, e);
  hold(f);
  e.lock.unlock();
  request_stop(f);
  const sender counted(*record_slab::of(f).store);
  if (runtime_core* core = core_of(f)) core->request_cancellation(f, 0);
  let_go(f);
}

void set_deadline(scope& s, clock::time_point deadline) {
  fiber_record& f = *s.of;
  fiber_extras& e = *f.extras.load(std::memory_order_acquire);
  worker* w = worker_here();
  if (w != nullptr) w->make_room_for_deadline();
  e.lock.lock();
  if (s.expired) {
    e.lock.unlock();
    throw std::logic_error("coir: a timeout that has expired was rescheduled");
  }
  const clock::time_point before = std::exchange(s.deadline, deadline);
  const bool late = set_alarm_locked(e, w);
  e.lock.unlock();
  if (!late) return;
  // A plain thread has no deadlines of its own: a fiber of the runtime sets it.
  const sender counted(*record_slab::of(f).store);
  runtime_core* const core = core_of(f);
  if (core == nullptr) return;
  try {
    start_on_a_fiber(*core, f, [](fiber_record& of) { set_alarm_here(of); });
  } catch (const std::bad_alloc&) {
    e.lock.lock();
    for (scope* open = e.innermost; open != nullptr; open = open->outer)  // it may have expired
      if (open == &s && s.deadline == deadline) s.deadline = before;
    set_alarm_locked(e, nullptr);
    e.lock.unlock();
    throw;
  } catch (const std::logic_error&) {  // the runtime ends, and has told everybody
  }
}

clock::time_point deadline_of(const scope& s) noexcept {
  fiber_extras& e = *s.of->extras.load(std::memory_order_acquire);
  e.lock.lock();
  const clock::time_point t = s.deadline;
  e.lock.unlock();
  return t;
}

bool has_expired(const scope& s) noexcept {
  fiber_extras& e = *s.of->extras.load(std::memory_order_acquire);
  e.lock.lock();
  const bool yes = s.expired || s.deadline <= clock::now();
  e.lock.unlock();
  return yes;
}

void forget_timeouts(fiber_record& f) noexcept {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr) return;
  e->lock.lock();  // it may strike just now
  if (e->timeouts.when() != never) e->timeouts.unset(worker_here());
  e->lock.unlock();
}

void expire_timeouts(fiber_record& f, clock::time_point now) noexcept {
  fiber_extras& e = *f.extras.load(std::memory_order_acquire);
  if (e.timeouts.due.load(std::memory_order_relaxed) > now.time_since_epoch().count()) return;
  e.lock.lock();
  const bool any = expire_locked(e, now);
  if (any) {
    publish_requests_locked(f, e);
    e.timeouts.due.store(earliest_locked(e).time_since_epoch().count(), std::memory_order_relaxed);
  }
  e.lock.unlock();
  if (any) request_stop(f);
}

// --- what a throw takes, and what a scope takes out of it ---

// Whoever asked stops the token too, but perhaps later than the fiber looks at it.
cancelled delivery::take(fiber_record& f) {
  cancelled c = take_requests(f);
  stop_given_token(f);
  return c;
}

cancelled delivery::take_requests(fiber_record& f) {
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr || e->innermost == nullptr) {
    f.attention.fetch_and(~std::uint32_t{cancel_requested}, std::memory_order_acq_rel);
    cancelled c(f.id(), take_reason(f));
    c.record_ = &f;
    return c;
  }
  std::uint32_t origins = 0;
  bool shield = false;
  e->lock.lock();
  const std::uint64_t serial = ++e->deliveries;
  for (scope* s = e->innermost; s != nullptr && !shield; s = s->outer) {
    shield = s->kind == scope_kind::shield;
    if (!s->pending) continue;
    s->pending = false;
    s->delivered = serial;
    ++origins;
  }
  publish_requests_locked(f, *e);
  e->lock.unlock();
  const std::uint32_t outside = cancel_requested | shutting_down;
  bool asked = false;
  if (!shield)
    asked = (f.attention.fetch_and(~std::uint32_t{cancel_requested}, std::memory_order_acq_rel) &
             outside) != 0;
  cancelled c(f.id(), asked ? take_reason(f) : std::string());
  c.record_ = &f;
  c.serial_ = serial;
  c.origins_ = origins + (asked ? 1 : 0);
  return c;
}

bool delivery::take_back(fiber_record& f) noexcept {
  bool any = (f.attention.fetch_and(~std::uint32_t{cancel_requested}, std::memory_order_acq_rel) &
              cancel_requested) != 0;
  if (fiber_extras* e = f.extras.load(std::memory_order_acquire)) {
    e->lock.lock();
    for (scope* s = e->innermost; s != nullptr; s = s->outer) {
      any |= s->pending;
      s->pending = false;
    }
    publish_requests_locked(f, *e);
    e->lock.unlock();
    take_reason(f);
  }
  if (any) stop_given_token(f);
  return any;
}

bool delivery::pending(fiber_record& f) noexcept {
  const std::uint32_t a = f.attention.load(std::memory_order_acquire);
  if ((a & strikes) != 0) return true;
  fiber_extras* e = f.extras.load(std::memory_order_acquire);
  if (e == nullptr || (a & shielded) == 0) return false;
  e->lock.lock();
  const bool any = pending_locked(f, *e);
  e->lock.unlock();
  return any;
}

bool delivery::pending_locked(const fiber_record& f, const fiber_extras& e) noexcept {
  bool any = (f.attention.load(std::memory_order_acquire) & strikes) != 0;
  for (const scope* s = e.innermost; s != nullptr; s = s->outer) any |= s->pending;
  return any;
}

bool delivery::concerns(const cancelled& c, const fiber_record& f) noexcept {
  return c.record_ == &f && c.fiber_ == f.id();
}

bool is_own(const cancelled& c, const fiber_record& f) noexcept { return delivery::concerns(c, f); }
bool strike_out(scope& s, cancelled& c) noexcept { return delivery::strike_out(s, c); }

bool delivery::strike_out(scope& s, cancelled& c) noexcept {
  if (c.record_ != s.of || c.serial_ == 0 || c.serial_ != s.delivered) return false;
  s.delivered = 0;
  return --c.origins_ == 0;
}

}  // namespace coir::sched
