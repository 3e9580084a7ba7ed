// The protocol of foreign requests (ARCHITECTURE decision 6, "Home") on the production gate, inbox and
// claim word: what runtime_core::request_cancellation, worker::park, adopt and ready, and visit do,
// without stacks, timers and drivers. A fiber is its next step, saved where its context would be.
//
// Always true: a fiber runs on at most one worker. Its saved step is plain data under watch, so
// running one before it has been saved is a race.
#pragma once

#include <coir/sched/claim_word.hpp>
#include <coir/sched/waiter.hpp>
#include <utility>

#include "sched/gate.hpp"
#include "sched/inbox.hpp"

namespace coir::sched::models {

constexpr std::uint32_t strikes = cancel_requested | shutting_down;

enum class place : std::uint8_t { ready, running, parked };

template <class Atomics>
class model_worker;

template <class Atomics>
struct model_fiber {
  basic_claim_word<Atomics> claim;
  typename Atomics::template atomic<model_worker<Atomics>*> home{nullptr};
  typename Atomics::template atomic<std::uint32_t> attention{0};
  typename Atomics::template atomic<place> state{place::ready};
  typename Atomics::template plain<int> saved_step = 0;  // the context: written as it is switched out
  model_fiber* cancel_next = nullptr;
  typename Atomics::template atomic<int> references{0};
};

// What a park does once the fiber is switched out: makes it findable.
template <class Atomics>
struct publication {
  void (*run)(void*, std::uint64_t) = nullptr;
  void* on = nullptr;
};

template <class Atomics>
void request_cancellation(model_fiber<Atomics>& f) {
  if (f.attention.fetch_or(cancel_requested | cancel_posted, std::memory_order_seq_cst) &
      cancel_posted)
    return;
  f.references.fetch_add(1, std::memory_order_relaxed);
  Atomics::fence();
  f.home.load(std::memory_order_relaxed)->post_cancel(f);
}

template <class Atomics>
class model_worker {
 public:
  using fiber = model_fiber<Atomics>;

  void post_cancel(fiber& f) { cancels_.push(f); }

  // Behind the gate from here to the end of the fiber's first step, as a switch is.
  template <class Run>
  bool run_ready(Run&& run) {
    gate_.enter();
    fiber* f = std::exchange(queued_.write(), nullptr);
    if (f == nullptr) {
      gate_.leave();
      return false;
    }
    length_.store(0, std::memory_order_relaxed);
    f->state.store(place::running, std::memory_order_relaxed);
    const int step = f->saved_step;
    gate_.leave();
    run(*this, *f, step);
    return true;
  }

  // The fiber has begun a wait. False: a cancellation is pending; it goes on, its wait claimed.
  bool park(fiber& f, int next_step, publication<Atomics> publish) {
    const auto wait = f.claim.look();
    gate_.enter();
    if ((f.attention.load(std::memory_order_relaxed) & strikes) != 0 && wait.cancellable) {
      gate_.leave();
      f.claim.claim(wait.generation, outcome::cancelled);
      if (publish.run != nullptr) publish.run(publish.on, wait.generation);
      return false;
    }
    switch_out_locked(f, next_step);
    if (publish.run != nullptr) publish.run(publish.on, wait.generation);
    gate_.leave();
    return true;
  }

  void park_operation(fiber& f, int next_step) {
    const auto wait = f.claim.look();
    gate_.enter();
    operating_ = true;
    if ((f.attention.load(std::memory_order_relaxed) & strikes) != 0 && wait.cancellable) stop();
    switch_out_locked(f, next_step);
    gate_.leave();
  }

  // The owner, of the fiber whose operation is in flight here: it ends because it was stopped.
  bool complete_if_stopped(fiber& f) {
    if (!operating_ || !stopped_) return false;
    operating_ = false;
    f.claim.complete();
    ready(f);
    return true;
  }

  void ready(fiber& f) {
    adopt(f);
    f.state.store(place::ready, std::memory_order_relaxed);
    gate_.enter();
    push_locked(f);
    gate_.leave();
  }

  void handle_own_messages() {
    if (cancels_.empty()) return;
    visit v(*this);
    gate_.enter();
    v.take_cancels(*this);
    gate_.leave();
    v.finish();
  }

  // What a thief does; with messages: to a hog.
  break_in steal_from(model_worker& victim, bool messages, unsigned patience) {
    if (victim.gate_.try_break_in(patience) == break_in::lost) return break_in::lost;
    visit v(*this);
    if (fiber* f = std::exchange(victim.queued_.write(), nullptr)) {
      victim.length_.store(0, std::memory_order_relaxed);
      f->home.store(this, std::memory_order_relaxed);
      v.arrived = f;
    }
    if (messages) v.take_cancels(victim);
    victim.gate_.break_out();
    v.finish();
    return break_in::entered;
  }

  bool has_ready() const { return length_.load(std::memory_order_relaxed) != 0; }
  bool has_messages() const { return !cancels_.empty(); }

 private:
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
      const bool asked = (f.attention.load(std::memory_order_acquire) & strikes) != 0;
      if (f.home.load(std::memory_order_relaxed) != &of) return again(f, nullptr);
      if (wait.state == outcome::operating && &of != &by) return again(f, &of);
      if (asked && wait.cancellable) {
        if (wait.state == outcome::operating)
          of.stop();
        else if (f.claim.claim(wait.generation, outcome::cancelled))
          woken = &f;
      }
      ++released;
      f.references.fetch_sub(1, std::memory_order_relaxed);
    }

    void again(fiber& f, model_worker* into) {
      if (f.attention.fetch_or(cancel_posted, std::memory_order_acq_rel) & cancel_posted)
        f.references.fetch_sub(1, std::memory_order_relaxed);
      else if (into != nullptr)
        into->cancels_.push(f);
      else
        forwarded = &f;
    }

    void finish() {
      if (arrived != nullptr) Atomics::fence();
      if (arrived != nullptr) by.ready(*arrived);
      if (woken != nullptr) by.ready(*woken);
      if (forwarded != nullptr)
        forwarded->home.load(std::memory_order_relaxed)->post_cancel(*forwarded);
    }

    model_worker& by;
    fiber* arrived = nullptr;
    fiber* woken = nullptr;
    fiber* forwarded = nullptr;
    int released = 0;
  };

  void adopt(fiber& f) {
    if (f.home.load(std::memory_order_relaxed) == this) return;
    f.home.store(this, std::memory_order_relaxed);
    Atomics::fence();
  }

  void push_locked(fiber& f) {
    queued_ = &f;
    length_.store(1, std::memory_order_relaxed);
  }

  void switch_out_locked(fiber& f, int next_step) {
    f.state.store(place::parked, std::memory_order_relaxed);
    f.saved_step = next_step;
  }

  void stop() { stopped_ = true; }

  basic_gate<Atomics> gate_;
  typename Atomics::template plain<fiber*> queued_ = nullptr;  // behind the gate
  typename Atomics::template atomic<std::size_t> length_{0};
  basic_inbox<fiber, &fiber::cancel_next, Atomics> cancels_;
  // The owner's.
  typename Atomics::template plain<bool> operating_ = false;
  typename Atomics::template plain<bool> stopped_ = false;
};

}  // namespace coir::sched::models
