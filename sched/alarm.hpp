// Something with a deadline that is no fiber: what happens then is a function.
//
// Always true: an alarm's memory is that of an alarm until its runtime has ended, so a heap that
// names an old setting of it may always look. Setting and unsetting are under a lock of the
// owner's.
#pragma once
#include "worker.hpp"

namespace coir::sched {

struct alarm : waiter {
  using function = void (*)(alarm&, worker& by) noexcept;
  explicit alarm(function f) noexcept : strike(f) {
    attention.store(alarm_clock, std::memory_order_relaxed);
  }

  // Called by a worker's loop, outside of every gate, at or after the deadline. It says first that
  // the alarm has struck.
  const function strike;

  clock::time_point when() const noexcept { return when_; }  // never: it is not set. Lock held

  // On the thread of `here`, which has made room for a deadline. It is not set.
  void set(worker& here, clock::time_point when) noexcept {
    when_ = when;
    generation_ = claim.begin(outcome::waiting, false);
    at_ = &here;
    timer_ = here.arm(when, *this, generation_);
  }
  // False: it is about to strike, and can be set again once it has said so. On a worker's thread;
  // null: elsewhere.
  bool unset(worker* here) noexcept {
    if (!claim.claim(generation_, outcome::granted)) return false;
    claim.finish();
    if (here != nullptr)
      here->disarm(*at_, timer_, *this);
    else
      at_->abandon_timer(timer_);
    when_ = never;
    return true;
  }
  void has_struck() noexcept {
    claim.finish();
    when_ = never;
  }

 private:
  clock::time_point when_ = never;
  wait_generation generation_ = 0;
  worker* at_ = nullptr;
  armed_timer timer_;
};

}  // namespace coir::sched
