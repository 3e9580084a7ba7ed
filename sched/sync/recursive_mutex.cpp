#include <coir/sched/cancellation.hpp>
#include <coir/sync/recursive_mutex.hpp>

#include "../fatal.hpp"
#include "../fiber_of.hpp"

namespace coir {

recursive_mutex::~recursive_mutex() {
  if (const sched::waiter* owner = owner_.load(std::memory_order_relaxed))
    sched::fatal("a recursive_mutex was destroyed while fiber %llu held it",
                 static_cast<unsigned long long>(sched::fiber_number(owner)));
}

void recursive_mutex::enter(sched::waiter* me) noexcept {
  owner_.store(me, std::memory_order_relaxed);
  depth_ = 1;
}

void recursive_mutex::lock() { lock_before(sched::never); }

bool recursive_mutex::lock_before(clock::time_point deadline) {
  sched::waiter* const me = sched::current_host().running;
  if (mine(me)) {
    sched::cancellation_point(*me);
    ++depth_;
    return true;
  }
  if (deadline == sched::never)
    inner_.lock();
  else if (!inner_.try_lock_until(deadline))
    return false;
  enter(me);
  return true;
}

bool recursive_mutex::try_lock() noexcept {
  sched::waiter* const me = sched::current_host().running;
  if (mine(me)) return ++depth_, true;
  if (!inner_.try_lock()) return false;
  enter(me);
  return true;
}

void recursive_mutex::unlock() noexcept {
  sched::waiter* const me = sched::current_host().running;
  if (!mine(me)) {
    const sched::waiter* const owner = owner_.load(std::memory_order_relaxed);
    sched::fatal("a recursive_mutex was unlocked by fiber %llu, and %s holds it",
                 static_cast<unsigned long long>(sched::fiber_number(me)),
                 owner == nullptr ? "nobody" : "another");
  }
  if (--depth_ != 0) return;
  owner_.store(nullptr, std::memory_order_relaxed);
  inner_.unlock();  // it may be gone from here on
}

}  // namespace coir
