// What can park: a fiber of a runtime, a fiber of a guest scheduler, or a plain thread.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <coir/sched/claim_word.hpp>
#include <coir/sched/fiber_id.hpp>

namespace coir::sched {

class host;
struct coroutine_frame;
struct operation;

// What a parked waiter waits for; with an id it makes the rows of runtime::fibers() and dump().
enum class wait_kind : std::uint8_t {
  nothing,
  sleep,
  mutex,
  condition,
  event,
  semaphore,
  push,
  pop,
  select,
  put,
  get,
  tasks_done,
  broadcast,
  watch,
  shared_mutex,
  latch,
  barrier,
  once,
  notifier,
  future,
  join,
  group,
  offload,
  resolve,
  stack,  // id: owner's fiber, or 0
  read,
  write,
  accept,
  connect,
  readable,
  writable,
  close,
  connections,  // id: descriptor
  signal,
  file  // id: descriptor, or 0
};

// What others want of a fiber, as bits of waiter::attention. A fiber looks at the word at each
// blocking call.
enum attention : std::uint32_t {
  cancel_requested = 1,   // a request from outside that has not been thrown
  shutting_down = 2,      // the runtime ends: cancellation strikes again and again
  cancel_posted = 4,      // the waiter is in an inbox of cancellations, which holds a reference
  scope_requested = 8,    // one of the fiber's own scopes asks, and no shield lies between
  shielded = 16,          // what was asked from outside of the innermost shield waits
  timed = 32,             // a timeout is open, so a blocking call looks at the clock
  alarm_clock = 64,       // always: this is no fiber, but something else with a deadline
  may_not_suspend = 128,  // in a no_suspend_scope; the waiter's own
  given_up = 256,         // its runtime has ended without it: it never runs again
  strikes = cancel_requested | shutting_down | scope_requested,
};

// Whether a request may strike at a blocking call now. The bits that it reads are set by anybody
// (scope_requested under the lock of the fiber's extras) and taken back by the fiber alone.
inline bool strikes_now(std::uint32_t attention) noexcept {
  return (attention & ((attention & shielded) != 0 ? std::uint32_t{scope_requested} : strikes)) !=
         0;
}

// What others look at, and what a wake and a switch touch. Lives until its runtime (a thread's: the
// process) ends and is used again for other fibers, so that late claimers and walkers may always
// look.
struct waiter {
  claim_word claim;
  waiter* cancel_next = nullptr;  // in an inbox of cancellations
  // The coroutine that runs on it, which knows the one that resumed it; null: none. Its own.
  coroutine_frame* coroutine = nullptr;
  // What it waits for: written by the waiter, read by walkers; `waits_for` belongs to it.
  std::atomic<std::uint64_t> waits_for_id{0};

  // From here on: what every spawn and every end touch.
  // In a ready list or a run queue, and then under the gate of that queue's worker.
  waiter* next = nullptr;
  union {
    waiter* previous = nullptr;
    operation* operating;  // while parked in one: the owner's, who completes or stops it
  };

  // The host that runs it, ran it last, or stole it. Written by the thread that makes it ready or
  // steals it.
  std::atomic<host*> home{nullptr};

  std::atomic<wait_kind> waits_for{wait_kind::nothing};

  // Of a fiber.
  std::atomic<task_state> state{task_state::ready};
  bool started = false;     // has a stack
  std::uint8_t pinned = 0;  // reasons to stay on its worker; its own

  // Set by anybody through a foreign request, read and cleared by the waiter.
  std::atomic<std::uint32_t> attention{0};
};

inline constexpr std::size_t touched_by_all = 32;  // in a waiter, the offset of that part
static_assert(offsetof(waiter, next) == touched_by_all);
static_assert(sizeof(waiter) == 64);

// Waiters that became ready, oldest first.
class ready_list {
 public:
  void push(waiter& w) noexcept {
    w.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &w;
    last_ = &w;
    ++size_;
  }
  waiter* pop() noexcept {
    waiter* w = first_;
    if (w != nullptr) {
      first_ = w->next;
      if (first_ == nullptr) last_ = nullptr;
      --size_;
    }
    return w;
  }
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return size_; }

 private:
  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace coir::sched
