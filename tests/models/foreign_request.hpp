// Workers and a fiber around the production protocol of foreign requests (sched/home.hpp) and the
// production gate, inbox and claim word, without stacks, timers and drivers. A fiber is its next
// step, saved where its context would be.
//
// Always true: a fiber runs on at most one worker. Its saved step is plain data under watch, so
// running one before it has been saved is a race. std::atomic stands for what the test itself
// counts.
#pragma once

#include <atomic>
#include <coir/sched/claim_word.hpp>
#include <coir/sched/waiter.hpp>

#include "sched/gate.hpp"
#include "sched/home.hpp"
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

// In a model there is one fiber, so a list has one place.
template <class Atomics>
struct model_list {
  bool empty() const { return only == nullptr; }
  void push(model_fiber<Atomics>& f) { only = &f; }
  model_fiber<Atomics>* pop() { return std::exchange(only, nullptr); }
  model_fiber<Atomics>* only = nullptr;
};

// What the library's worker_world is.
template <class Atomics>
struct model_world {
  using atomics = Atomics;
  using worker = model_worker<Atomics>;
  using fiber = model_fiber<Atomics>;
  using list = model_list<Atomics>;

  static auto& cancels(worker& of) { return of.cancels_; }
  static bool runs(const worker& of, const fiber& f) { return of.running_ == &f; }
  static void post(worker& to, fiber& f) { to.cancels_.push(f); }
  static void hold(fiber& f) { ++f.messages; }
  static void let_go(fiber& f) { --f.messages; }
  static void stop(worker& owner, fiber&) { owner.stopped_ = true; }
  static void arrives(worker& by, fiber& f) { by.ready(f); }
  static void wakes(worker& by, fiber& f) { by.ready(f); }
};

template <class Atomics>
void request_cancellation(model_fiber<Atomics>& f) {
  basic_home<model_world<Atomics>>::request(f, cancel_requested);
}

template <class Atomics>
class model_worker {
 public:
  using fiber = model_fiber<Atomics>;
  using homes = basic_home<model_world<Atomics>>;
  using visit = basic_visit<model_world<Atomics>>;

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
    if (homes::is_asked_locked(f, wait)) {
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
    stopped_ = homes::is_asked_locked(f, wait);
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
    v.hand_out();
  }

  void start(fiber& f) {
    homes::settle(f, *this);
    push(f);
  }

  // Whoever has claimed the fiber's wait.
  void ready(fiber& f) {
    homes::adopt(f, *this);
    push(f);
  }

  void push(fiber& f) {
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
    if (fiber* f = victim.take_locked()) v.take(*f);
    if (hog) v.take_cancels(victim);
    victim.gate_.break_out();
    v.hand_out();
    return break_in::entered;
  }

 private:
  friend struct model_world<Atomics>;

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
