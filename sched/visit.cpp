#include "visit.hpp"

#include <utility>
#include <vector>

#include "alarm.hpp"
#include "runtime_core.hpp"

namespace coir::sched {

namespace {

// Timers that strike in one visit; the kernel is looked at before the next.
constexpr unsigned most_timers = 256;

}  // namespace

void visit::take(fiber_record& f) noexcept {
  f.home.store(&by_, std::memory_order_relaxed);  // the fence follows, in finish()
  arrived_.push(f);
}

void visit::take_arrivals(worker& own) noexcept {
  for (waiter* w = own.arrivals_.take(); w != nullptr;) {
    waiter* const after = w->next;
    arrived_.push(*w);
    w = after;
  }
}

// Foreign requests, the receiving half: sched/README.md. The sender set the flag, fenced, and read
// the home that brought the message here.
void visit::take_cancels(worker& of) noexcept {
  for (waiter* w = of.cancels_.take(); w != nullptr;) {
    waiter* const after = w->cancel_next;
    // Who asks from now on posts a message of its own; who asked before is answered by this one.
    w->attention.fetch_and(~std::uint32_t{cancel_posted}, std::memory_order_acq_rel);
    // The wait first, then the flag: if the flag was taken meanwhile, the wait is another one, and
    // the claim loses.
    const auto wait = w->claim.look();
    const bool asked = strikes_now(w->attention.load(std::memory_order_acquire));
    const bool owner = &of == &by_;
    if (w->home.load(std::memory_order_relaxed) != &of) {
      again(*w, nullptr);
    } else if (wait.state == outcome::operating && !owner) {
      again(*w, &of);  // only the owner can reach its ring
    } else {
      // What runs on a hog may have begun a wait and not parked: its park() will see the flag.
      if (asked && wait.cancellable && of.running != w) {
        if (wait.state == outcome::operating)
          of.stop(*w, operation::stop::cancellation);
        else if (w->claim.claim(wait.generation, outcome::cancelled))
          ready_.push(*w);
      }
      let_go(static_cast<fiber_record&>(*w));
    }
    w = after;
  }
}

// The message is not done with: back into the box, or on to another home, unless a newer one is
// under way already.
void visit::again(waiter& w, worker* into) noexcept {
  if (w.attention.fetch_or(cancel_posted, std::memory_order_acq_rel) & cancel_posted)
    let_go(static_cast<fiber_record&>(w));
  else if (into != nullptr)
    into->cancels_.push(w);
  else
    w.cancel_next = std::exchange(forwarded_, &w);
}

void visit::take_timers(worker& of, clock::time_point now) noexcept {
  constexpr std::size_t room = 16;
  timer_heap::due later[room];  // deadlines of operations, which only the owner can stop
  std::size_t kept = 0;
  for (unsigned n = 0; n < most_timers && kept < room; ++n) {
    const timer_heap::due d = of.timers_.pop_due(now);
    if (d.who == nullptr) break;
    if (d.who->claim.claim(d.generation, outcome::timed_out)) {
      const bool clock = (d.who->attention.load(std::memory_order_relaxed) & alarm_clock) != 0;
      (clock ? alarms_ : ready_).push(*d.who);
      continue;
    }
    const auto wait = d.who->claim.look();
    if (wait.state != outcome::operating || wait.generation != d.generation) continue;
    if (&of == &by_)
      of.stop(*d.who, operation::stop::deadline);
    else
      later[kept++] = d;
  }
  while (kept != 0) {
    const auto& d = later[--kept];
    of.timers_.arm(d.deadline, *d.who, d.generation);
  }
  of.publish_deadline_locked();
}

void visit::take_requests(worker& own) noexcept {
  for (request* r = own.requests_.take(); r != nullptr;) {
    request* const after = r->inbox_next;
    // The operation of that generation is in flight here, or it has completed.
    waiter& w = *r->target;
    if (w.home.load(std::memory_order_relaxed) == &own) {
      const auto wait = w.claim.look();
      if (wait.generation == r->generation && wait.state == outcome::operating)
        own.stop(w, operation::stop::closed);
    }
    r->inbox_next = std::exchange(handled_, r);
    r = after;
  }
}

bool visit::finish() noexcept {
  const bool found = !ready_.empty() || !arrived_.empty();
  if (!arrived_.empty())
    std_atomics::fence();  // between the new home and the next step: worker::adopt
  while (waiter* w = arrived_.pop()) by_.ready(static_cast<fiber_record&>(*w), false);
  while (waiter* w = ready_.pop()) {
    auto& f = static_cast<fiber_record&>(*w);
    host* const home = f.home.load(std::memory_order_relaxed);
    if (f.pinned && home != &by_)
      home->unpark(f);  // it waited behind a hog, and goes on waiting there
    else
      by_.ready(f, false);
  }
  while (waiter* w = forwarded_) {
    forwarded_ = w->cancel_next;
    auto& f = static_cast<fiber_record&>(*w);
    static_cast<worker*>(f.home.load(std::memory_order_relaxed))->post_cancel(f);
  }
  while (request* r = handled_) {
    handled_ = r->inbox_next;
    r->handled(*r);
  }
  while (waiter* w = alarms_.pop()) {
    auto& a = static_cast<alarm&>(*w);
    a.strike(a, by_);
  }
  return found;
}

}  // namespace coir::sched
