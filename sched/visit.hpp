// What a worker takes up behind a gate, its own or a victim's, and deals with once it has left it:
// destructors and wakes are nothing for a gate.
#pragma once
#include <cstddef>

#include <coir/sched/waiter.hpp>

#include "worker.hpp"

namespace coir::sched {

class visit {
 public:
  explicit visit(worker& by) noexcept : by_(by) {}

  // Behind the gate of `of`.
  void take(fiber_record&) noexcept;  // a ready fiber, which becomes this worker's
  void take_cancels(worker& of) noexcept;
  void take_timers(worker& of, clock::time_point now) noexcept;
  void take_requests(worker& own) noexcept;
  void take_arrivals(worker& own) noexcept;

  // Outside of every gate. True if a fiber has become ready.
  bool finish() noexcept;

 private:
  void again(waiter&, worker* into) noexcept;

  worker& by_;
  ready_list ready_;
  ready_list arrived_;  // claimed elsewhere, or stolen
  ready_list alarms_;   // that have struck
  // References to give up. No list: a waiter whose message is done with may be in an inbox again.
  waiter* forwarded_ = nullptr;  // cancellations for another home, linked by cancel_next
  request* handled_ = nullptr;
};

}  // namespace coir::sched
