// A fiber's home, and the requests that follow it there. The library and the models of it
// (tests/models) run this same code; sched/README.md, "Home, and foreign requests", has the
// protocol, the names of its steps (s1, r1), and the proof.
//
// World says what takes part: `atomics`, `worker`, `fiber` (with claim, home, attention and
// cancel_next), `list` (of fibers), and
//   hold, let_go      the reference that goes with a message
//   post(worker, f)   into that worker's box of cancellations; `cancels` is the box
//   runs(worker, f)   whether it is what runs there; behind the gate
//   stop(worker, f)   asks the driver to end the operation that f is parked in; by its owner
//   arrives, wakes    make f ready on a worker: stolen, or claimed behind another's gate
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>

#include <coir/sched/claim_word.hpp>
#include <coir/sched/waiter.hpp>

namespace coir::sched {

template <class World>
struct basic_home {
  using atomics = typename World::atomics;
  using worker = typename World::worker;
  using fiber = typename World::fiber;

  // The sender; any thread that has a reference.
  static void request(fiber& f, std::uint32_t why) noexcept {
    if (f.attention.fetch_or(why | cancel_posted, std::memory_order_seq_cst) & cancel_posted)
      return;  // a message is on its way, and whoever gets it looks at the flag after that
    World::hold(f);
    for (;;) {
      atomics::fence();
      if (auto* const home = f.home.load(std::memory_order_relaxed))
        return World::post(static_cast<worker&>(*home), f);
      // Nobody has taken it up yet, and who does looks at the flag after that. The heavy fence is
      // the partner of the light one behind settle().
      f.attention.fetch_and(~std::uint32_t{cancel_posted}, std::memory_order_acq_rel);
      atomics::heavy_fence();
      if (f.home.load(std::memory_order_relaxed) == nullptr ||
          (f.attention.fetch_or(cancel_posted, std::memory_order_seq_cst) & cancel_posted) != 0)
        return World::let_go(f);
    }
  }

  // The first home, of a fiber that is being spawned. The worker enters its gate before the fiber
  // can run, which is a light fence.
  static void settle(fiber& f, worker& here) noexcept {
    f.home.store(&here, std::memory_order_relaxed);
  }

  // Whoever makes it ready elsewhere. The fence lies between the new home and the fiber's next
  // step: a sender that reads the old home has set its flag before that step.
  static void adopt(fiber& f, worker& by) noexcept {
    if (f.home.load(std::memory_order_relaxed) == &by) return;
    f.home.store(&by, std::memory_order_relaxed);
    atomics::fence();
  }

  // Behind home's gate, by a fiber that is about to park in `wait`: whether it is asked to end. A
  // message that was handled before now is seen, one that is handled later finds the fiber parked.
  static bool is_asked_locked(const fiber& f, const auto& wait) noexcept {
    return strikes_now(f.attention.load(std::memory_order_relaxed)) && wait.cancellable;
  }
};

// Behind the gate of `here`: whether f lies in its queue or its run-next slot, and has not started.
// The line for stacks comes first: who takes f out of it has become its home before.
template <class Fiber, class Worker>
bool waits_for_its_start_locked(const Fiber& f, const Worker& here) noexcept {
  return !f.starving.load(std::memory_order_acquire) &&
         f.home.load(std::memory_order_relaxed) == &here && !f.started && !f.done();
}

// What a worker takes up behind a gate, its own or a victim's, and deals with once it has left it.
template <class World>
class basic_visit {
 public:
  using worker = typename World::worker;
  using fiber = typename World::fiber;

  explicit basic_visit(worker& by) noexcept : by_(by) {}

  // Behind a victim's gate: a ready fiber, which becomes this worker's. The fence follows, in
  // hand_out().
  void take(fiber& f) noexcept {
    f.home.store(&by_, std::memory_order_relaxed);
    arrived_.push(f);
  }

  // Behind the gate of `of`, as the receiver of what was sent there.
  void take_cancels(worker& of) noexcept {
    for (fiber* f = World::cancels(of).take(); f != nullptr;) {
      fiber* const after = f->cancel_next;
      receive(*f, of);
      f = after;
    }
  }

  // Outside of every gate. True if a fiber has become ready.
  bool hand_out() noexcept {
    const bool found = !ready_.empty() || !arrived_.empty();
    if (!arrived_.empty()) World::atomics::fence();  // as in basic_home::adopt
    while (auto* f = arrived_.pop()) World::arrives(by_, *f);
    while (auto* f = ready_.pop()) World::wakes(by_, *f);
    while (fiber* f = forwarded_) {
      forwarded_ = f->cancel_next;
      World::post(static_cast<worker&>(*f->home.load(std::memory_order_relaxed)), *f);
    }
    return found;
  }

 protected:
  void receive(fiber& f, worker& of) noexcept {
    // Who asks from now on posts a message of its own; who asked before is answered by this one.
    f.attention.fetch_and(~std::uint32_t{cancel_posted}, std::memory_order_acq_rel);
    // The wait first, then the flag: if the flag was taken meanwhile, the wait is another one, and
    // the claim loses.
    const auto wait = f.claim.look();
    const bool asked = strikes_now(f.attention.load(std::memory_order_acquire));
    const bool owner = &of == &by_;
    if (f.home.load(std::memory_order_relaxed) != &of) return again(f, nullptr);
    if (wait.state == outcome::operating && !owner)
      return again(f, &of);  // only the owner can reach its ring
    // What runs on a hog may have begun a wait and not parked: its park() will see the flag.
    if (asked && wait.cancellable && !World::runs(of, f)) {
      if (wait.state == outcome::operating)
        World::stop(of, f);
      else if (f.claim.claim(wait.generation, outcome::cancelled))
        ready_.push(f);
    }
    World::let_go(f);
  }

  // The message is not done with: back into the box, or on to another home, unless a newer one is
  // under way already.
  void again(fiber& f, worker* into) noexcept {
    if (f.attention.fetch_or(cancel_posted, std::memory_order_acq_rel) & cancel_posted)
      World::let_go(f);
    else if (into != nullptr)
      World::cancels(*into).push(f);
    else
      f.cancel_next = std::exchange(forwarded_, &f);
  }

  worker& by_;
  typename World::list ready_;
  typename World::list arrived_;  // claimed elsewhere, or stolen
  // No list: a waiter whose message is done with may be in an inbox again.
  fiber* forwarded_ = nullptr;  // cancellations for another home, linked by cancel_next
};

}  // namespace coir::sched
