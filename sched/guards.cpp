#include <coir/sched/guards.hpp>

#include "fatal.hpp"
#include "fiber_of.hpp"

namespace coir {

namespace {

// Counts a scope of the caller. A coroutine's belong to the fiber that resumed it.
sched::waiter* open_scope() noexcept {
  if (sched::fiber_record* f = sched::running_fiber()) ++f->scopes;
  return sched::current_host().running;
}

void close_scope(const sched::waiter* who, const char* what) noexcept {
  if (sched::current_host().running != who)
    sched::fatal("a %s went on another fiber than the one that made it", what);
  if (sched::fiber_record* f = sched::running_fiber()) --f->scopes;
}

}  // namespace

pin_guard::pin_guard() noexcept : who_(open_scope()) {
  if (sched::fiber_record* f = sched::running_fiber())
    if (++f->pinned == 0) sched::fatal("more than 254 pin_guards live on one fiber");
}

pin_guard::~pin_guard() {
  close_scope(who_, "pin_guard");
  if (sched::fiber_record* f = sched::running_fiber()) --f->pinned;
}

no_suspend_scope::no_suspend_scope() noexcept
    : who_(open_scope()),
      first_((who_->attention.fetch_or(sched::may_not_suspend, std::memory_order_relaxed) &
              sched::may_not_suspend) == 0) {}

no_suspend_scope::~no_suspend_scope() {
  close_scope(who_, "no_suspend_scope");
  if (first_)
    who_->attention.fetch_and(~std::uint32_t{sched::may_not_suspend}, std::memory_order_relaxed);
}

}  // namespace coir
