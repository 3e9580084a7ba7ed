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

void strike_all(ready_list& alarms, worker& by) noexcept {
  while (waiter* w = alarms.pop()) {
    auto& a = static_cast<alarm&>(*w);
    a.strike(a, by);
  }
}

void visit::take_arrivals(worker& own) noexcept {
  for (waiter* w = own.arrivals_.take(); w != nullptr;) {
    waiter* const after = w->next;
    arrived_.push(*w);
    w = after;
  }
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
  const bool found = hand_out();
  while (request* r = handled_) {
    handled_ = r->inbox_next;
    r->handled(*r);
  }
  strike_all(alarms_, by_);
  return found;
}

}  // namespace coir::sched
