// The protocol of foreign requests (docs: "Home") on the production gate, inbox and claim word:
// what runtime_core::request_cancellation, worker::park, adopt and ready, and visit do, without
// stacks, timers and drivers. A fiber is its next step, saved where its context would be.
//
// Always true: a fiber runs on at most one worker. Its saved step is plain data under watch, so
// running one before it has been saved is a race. std::atomic stands for what the test itself
// counts.
#pragma once

#include <atomic>
#include <coir/sched/claim_word.hpp>
#include <coir/sched/waiter.hpp>
#include <utility>

#include "sched/gate.hpp"
#include "sched/inbox.hpp"

namespace coir::sched::models {

template <class Atomics>
class model_worker;

template <class Atomics>
struct model_fiber {
  basic_claim_word<Atomics> claim;
  typename Atomics::template atomic<model_worker<Atomics>*> home{nullptr};
  typename Atomics::template atomic<std::uint32_t> attention{0};
  typename Atomics::template plain<int> saved_step = 0;  // its context
  model_fiber* cancel_next = nullptr;
  std::atomic<int> messages{0};

  bool asked() const { return (attention.load(std::memory_order_relaxed) & cancel_requested) != 0; }
  void take_request() {
    attention.fetch_and(~std::uint32_t{cancel_requested}, std::memory_order_acq_rel);
  }
};

// Anybody: the flag, a full fence, home, the message. One message at a time is under way.
template <class Atomics>
void request_cancellation(model_fiber<Atomics>& f) {
  constexpr std::uint32_t flags = cancel_requested | cancel_posted;
  if (f.attention.fetch_or(flags, std::memory_order_seq_cst) & cancel_posted) return;
  ++f.messages;
  Atomics::fence();
  f.home.load(std::memory_order_relaxed)->post_cancel(f);
}

template <class Atomics>
class model_worker {
 public:
  using fiber = model_fiber<Atomics>;

  void post_cancel(fiber& f) { cancels_.push(f); }
  bool has_ready() const { return has_ready_.load(); }
  bool has_messages() const { return !cancels_.empty(); }

  // ---- the owner ----

  // The fiber to run now, and its next step; null: none.
  fiber* take_next(int& step) {
    gate_.enter();
    fiber* f = take_locked();
    if (f != nullptr) {
      running_ = f;
      step = f->saved_step;
    }
    gate_.leave();
    return f;
  }

  // The fiber has begun a wait, and publish makes it findable once it is switched out. False: it
  // has a request, and goes on; its wait is claimed.
  template <class Publish>
  bool park(fiber& f, int next_step, Publish publish) {
    const auto wait = f.claim.look();
    gate_.enter();
    if (f.asked() && wait.cancellable) {
      gate_.leave();
      f.claim.claim(wait.generation, outcome::cancelled);
      publish(wait.generation);
      return false;
    }
    switch_out_locked(f, next_step);
    publish(wait.generation);
    gate_.leave();
    return true;
  }

  void park_operation(fiber& f, int next_step) {
    const auto wait = f.claim.look();
    gate_.enter();
    stopped_ = f.asked() && wait.cancellable;
    switch_out_locked(f, next_step);
    gate_.leave();
  }

  bool complete_if_stopped(fiber& f) {
    if (!stopped_) return false;
    stopped_ = false;
    f.claim.complete();
    ready(f);
    return true;
  }

  void handle_messages() {
    visit v(*this);
    gate_.enter();
    v.take_cancels(*this);
    gate_.leave();
    v.finish();
  }

  // Whoever has claimed the fiber's wait.
  void ready(fiber& f) {
    adopt(f);
    gate_.enter();
    queued_ = &f;
    has_ready_.store(true);
    gate_.leave();
  }

  // ---- a thief ----

  // What is ready at the victim; of a hog its messages too.
  break_in steal_from(model_worker& victim, bool hog, unsigned patience) {
    if (victim.gate_.try_break_in(patience) == break_in::lost) return break_in::lost;
    visit v(*this);
    v.arrived = victim.take_locked();
    if (v.arrived != nullptr) v.arrived->home.store(this, std::memory_order_relaxed);
    if (hog) v.take_cancels(victim);
    victim.gate_.break_out();
    v.finish();
    return break_in::entered;
  }

 private:
  // What is taken up behind a gate, and dealt with once that is left.
  struct visit {
    explicit visit(model_worker& who) : by(who) {}

    void take_cancels(model_worker& of) {
      for (fiber* f = of.cancels_.take(); f != nullptr;) {
        fiber* const after = f->cancel_next;
        handle(of, *f);
        f = after;
      }
    }

    void handle(model_worker& of, fiber& f) {
      f.attention.fetch_and(~std::uint32_t{cancel_posted}, std::memory_order_acq_rel);
      const auto wait = f.claim.look();
      const bool asked = f.asked();
      const bool owner = &of == &by;
      if (f.home.load(std::memory_order_relaxed) != &of) return again(f, nullptr);
      if (wait.state == outcome::operating && !owner) return again(f, &of);
      // What runs on a hog may have begun a wait and not parked: its park() will see the flag.
      if (asked && wait.cancellable && of.running_ != &f) {
        if (wait.state == outcome::operating)
          of.stopped_ = true;
        else if (f.claim.claim(wait.generation, outcome::cancelled))
          woken = &f;
      }
      --f.messages;
    }

    void again(fiber& f, model_worker* into) {
      if (f.attention.fetch_or(cancel_posted, std::memory_order_acq_rel) & cancel_posted)
        --f.messages;  // a newer one is under way
      else if (into != nullptr)
        into->cancels_.push(f);
      else
        forwarded = &f;
    }

    void finish() {
      if (arrived != nullptr) {
        Atomics::fence();
        by.ready(*arrived);
      }
      if (woken != nullptr) by.ready(*woken);
      if (forwarded != nullptr)
        forwarded->home.load(std::memory_order_relaxed)->post_cancel(*forwarded);
    }

    model_worker& by;
    fiber* arrived = nullptr;
    fiber* woken = nullptr;
    fiber* forwarded = nullptr;
  };

  void adopt(fiber& f) {
    if (f.home.load(std::memory_order_relaxed) == this) return;
    f.home.store(this, std::memory_order_relaxed);
    Atomics::fence();
  }

  fiber* take_locked() {
    fiber* const f = queued_;
    if (f != nullptr) {
      queued_ = nullptr;
      has_ready_.store(false);
    }
    return f;
  }

  void switch_out_locked(fiber& f, int next_step) {
    running_ = nullptr;
    f.saved_step = next_step;
  }

  basic_gate<Atomics> gate_;
  typename Atomics::template plain<fiber*> queued_ = nullptr;   // behind the gate
  typename Atomics::template plain<fiber*> running_ = nullptr;  // behind the gate
  typename Atomics::template plain<bool> stopped_ = false;      // the owner's: its one operation
  basic_inbox<fiber, &fiber::cancel_next, Atomics> cancels_;
  std::atomic<bool> has_ready_{false};
};

}  // namespace coir::sched::models
