// What a worker takes up behind a gate, its own or a victim's, and deals with once it has left it:
// destructors and wakes are nothing for a gate.
#pragma once
#include <coir/sched/atomics.hpp>
#include <coir/sched/waiter.hpp>

#include "home.hpp"
#include "worker.hpp"

namespace coir::sched {

// The runtime's side of home.hpp.
struct worker_world {
  using atomics = std_atomics;
  using worker = sched::worker;
  using fiber = waiter;
  using list = ready_list;

  static auto& cancels(worker& of) noexcept { return of.cancels_; }
  static bool runs(const worker& of, const waiter& w) noexcept { return of.running == &w; }
  static void post(worker& to, waiter& w) noexcept { to.post_cancel(as_fiber(w)); }
  static void hold(waiter& w) noexcept { sched::hold(as_fiber(w)); }
  static void let_go(waiter& w) noexcept { sched::let_go(as_fiber(w)); }
  static void stop(worker& owner, waiter& w) noexcept {
    owner.stop(w, operation::stop::cancellation);
  }
  static void arrives(worker& by, waiter& w) noexcept { by.ready(as_fiber(w), false); }
  static void wakes(worker& by, waiter& w) noexcept {
    host* const home = w.home.load(std::memory_order_relaxed);
    if (w.pinned && home != &by)
      home->unpark(w);  // it waited behind a hog, and goes on waiting there
    else
      arrives(by, w);
  }
  static fiber_record& as_fiber(waiter& w) noexcept { return static_cast<fiber_record&>(w); }
};

using homes = basic_home<worker_world>;

// Alarms that are claimed; on the thread of `by`, outside of every gate.
void strike_all(ready_list& alarms, worker& by) noexcept;

class visit : private basic_visit<worker_world> {
 public:
  using basic_visit::basic_visit;
  using basic_visit::take;
  using basic_visit::take_cancels;

  // Behind the gate of `of`.
  void take_timers(worker& of, clock::time_point now) noexcept;
  void take_requests(worker& own) noexcept;
  void take_arrivals(worker& own) noexcept;

  // Outside of every gate. True if a fiber has become ready.
  bool finish() noexcept;

 private:
  ready_list alarms_;           // that have struck
  request* handled_ = nullptr;  // references to give up
};

}  // namespace coir::sched
