// How a fiber begins on its worker, is joined, and ends.
#include <utility>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/task_handle.hpp>

#include "fatal.hpp"
#include "fiber_end.hpp"
#include "fiber_extras.hpp"
#include "visit.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

// --- its start ---

// A task that has not started waits like a fiber that sleeps, but for its stack.
void worker::put_off(fiber_record& f, deferral& until) noexcept {
  homes::adopt(f, *this);  // a canceller that has not seen this home is seen below
  until.where = this;
  f.waits_for_id.store(static_cast<std::uint64_t>(until.at.time_since_epoch().count()),
                       std::memory_order_relaxed);
  f.waits_for.store(wait_kind::sleep, std::memory_order_relaxed);
  gate_.enter();
  until.wait = f.claim.begin();
  if (strikes_now(f.attention.load(std::memory_order_relaxed))) {
    f.claim.claim(until.wait, outcome::cancelled);
    push_locked(f);
  } else {
    parks(f);
    until.timer = arm_locked(until.at, f, until.wait);
  }
  gate_.leave();
}

// Such a joiner goes the long way. An open timeout asks nothing yet.
static bool asked_of_something(const waiter& w) noexcept {
  return (w.attention.load(std::memory_order_relaxed) & ~std::uint32_t{timed}) != 0;
}

// A join of a fiber that waits in this queue for its start: jumps straight to it, on the hottest
// stack. Its end jumps back, if the joiner still waits. False: it is elsewhere, or has started;
// nothing has happened.
[[gnu::always_inline]] inline bool worker::join_unstarted(fiber_record& f, fiber_record& joiner,
                                                          bool cancellable,
                                                          clock::time_point deadline) noexcept {
  if (ticks_left_ == 0) return false;
  gate_.enter();
  if (!waits_for_its_start_locked(f, *this) || asked_of_something(joiner) || !bind_locked(f)) {
    gate_.leave();
    return false;
  }
  if (next_ == &f) {
    next_ = nullptr;
  } else {
    queue_.erase(f);
    publish_length_locked();
  }
  --ticks_left_;
  const bool may_be_struck =
      cancellable && (joiner.coroutine == nullptr ? joiner.shields == 0 && !unwinding()
                                                  : may_be_cancelled(joiner));
  f.first_joiner = &joiner;
  f.first_joined = joiner.claim.begin(outcome::waiting, may_be_struck);
  joiner.waits_for_id.store(f.id().value(), std::memory_order_relaxed);
  joiner.waits_for.store(wait_kind::join, std::memory_order_relaxed);
  armed_timer timer;
  if (deadline != never) [[unlikely]]
    timer = arm_locked(deadline, joiner, f.first_joined);
  parks(joiner);
  worker& now = switch_locked(&f, joiner.context, fiber::departure::parked);
  joiner.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  if (timer.entry != nullptr) [[unlikely]]
    now.disarm(*this, timer, joiner);
  return true;
}

// Of one that is done: whether its callbacks are still being called.
static bool is_telling_locked(const fiber_record& f) noexcept {
  const fiber_extras* e = f.extras.load(std::memory_order_acquire);
  return e != nullptr && e->telling;
}

// Its callbacks come before whoever joins it, but for callbacks, its own and others', which may not
// wait. They are short: neither a cancellation nor a deadline strikes here.
[[gnu::noinline]] static void until_told(fiber_record& f) {
  host& here = current_host();
  waiter& me = *here.running;
  if ((me.attention.load(std::memory_order_relaxed) & may_not_suspend) != 0) return;
  if (here.kind == host_kind::worker && static_cast<fiber_record&>(me).done()) return;
  f.join_lock.lock();
  if (!is_telling_locked(f)) return f.join_lock.unlock();
  wait_node node;
  static_cast<void>(
      wait_in(f.joiners, f.join_lock, node, {wait_kind::join, f.id().value(), false}, never));
}

// A join of a fiber that is under way, by anybody. What is rare lies here, so that the other path
// needs few registers.
[[gnu::noinline]] static outcome join_started(fiber_record& f, clock::time_point deadline,
                                              bool cancellable) {
  f.join_lock.lock();
  if (f.done() && !is_telling_locked(f)) return f.join_lock.unlock(), outcome::granted;
  wait_node node;
  return wait_in(f.joiners, f.join_lock, node, {wait_kind::join, f.id().value(), cancellable},
                 deadline);
}

bool join(fiber_record& f, clock::time_point deadline, bool cancellable) {
  if (f.done()) {
    if (f.extras.load(std::memory_order_acquire) != nullptr) [[unlikely]]
      until_told(f);
    return true;
  }
  host& here = current_host();
  waiter& me = *here.running;
  if (&me == &f) [[unlikely]]
    fatal("fiber %llu joins itself, and would wait for ever",
          static_cast<unsigned long long>(f.id().value()));
  if (me.attention.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    check_may_suspend(me);
    if (cancellable) cancellation_point(me);
  }
  if (deadline != never) [[unlikely]]
    here.make_room_for_deadline();
  outcome how;
  if (f.home.load(std::memory_order_relaxed) == &here &&  // then a worker
      static_cast<worker&>(here).join_unstarted(f, static_cast<fiber_record&>(me), cancellable,
                                                deadline))
    how = me.claim.finish();
  else
    how = join_started(f, deadline, cancellable);
  if (how == outcome::cancelled) [[unlikely]]
    throw_cancelled(me);
  return how == outcome::granted;
}

// --- its end ---

void worker::fiber_main(fiber::carrier& on, fiber::context&) noexcept {
  auto& w = static_cast<worker&>(on);
  w.finish_switch();
  auto& f = static_cast<fiber_record&>(*w.running);
  if (f.how == task_ending::error) {  // there was no stack for it
    f.shields = 1;
    f.functions->drop(f);
  } else if (f.attention.load(std::memory_order_acquire) & strikes) {
    f.shields = 1;  // a destructor that waits is not cancelled: nobody would catch it
    f.functions->drop(f);
    f.how = task_ending::cancelled;
  } else {
    f.functions->run(f);
  }
  end_current(f);
}

// Publishes that it is done, tells who waits, and gives up the fiber's own reference: after that
// the record may be anybody's.
[[gnu::always_inline]] inline void worker::end_fiber(fiber_record& f) noexcept {
  f.join_lock.lock();
  // One that was abandoned and comes back all the same: those who asked have been told already.
  const bool late = f.ending.load(std::memory_order_relaxed) == task_ending::abandoned;
  if (!late) f.ending.store(f.how, std::memory_order_relaxed);
  f.state.store(task_state::done, std::memory_order_release);
  if (!f.joiners.empty() || f.extras.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
    tell_who_waits_locked(f);
  else
    f.join_lock.unlock();
  if (f.functions->ended != nullptr && !late) f.functions->ended(f);
  release_at_end(f);
}

inline void worker::count_end() noexcept {
  counts.add(counts.ended);
  ++stacks_freed_;
}

// The stack of a fiber that has ended, once nobody is on it any more.
waiter* worker::take_stack_back(void* on, void* left) noexcept {
  auto& here = *static_cast<worker*>(on);
  auto* const free = static_cast<fiber::stack*>(left);
  if (!here.core.took_back_reserve(free)) here.stacks_.put(free);
  here.count_end();
  return nullptr;
}

// `first`: who jumped to it, and may wait for it still; null: nobody. Such a wait is claimed by
// nobody who is not behind the gate of its waiter's home, which it keeps until then: there a look
// and a store are enough, and the joiner is jumped to at once.
[[gnu::always_inline]] inline void worker::leave(fiber::stack* stack, waiter* first,
                                                 wait_generation joined) noexcept {
  dying_.on = stack;
  if (first != nullptr && (ticks_left_ == 0 || first->home.load(std::memory_order_relaxed) != this))
      [[unlikely]] {
    if (first->claim.claim(joined, outcome::granted)) wake(*first);
    first = nullptr;
  }
  gate_.enter();
  fiber_record* to = nullptr;
  if (first != nullptr && first->claim.claim_locked(joined, outcome::granted)) [[likely]]
    to = &static_cast<fiber_record&>(*first);
  // A joiner needs no stack, so nobody takes this one before it has been left.
  if (to != nullptr && !core.is_reserve(stack) && stacks_.put_early(stack)) [[likely]]
    count_end();
  else
    after_ = {&take_stack_back, this, stack};
  if (to != nullptr)
    --ticks_left_;
  else
    to = take_next_locked();
  switch_locked(to, dying_, fiber::departure::ended);
  fatal("a fiber that had ended was resumed");
}

// On the ended fiber's own stack, for the last time. Nothing of the record is touched once it is
// released: the final switch is made from a context of the worker's.
void worker::end_current(fiber_record& f) noexcept {
  fiber::stack* const stack = f.context.on;
  f.shields = 1;  // a request that came too late does not strike where its result is destroyed
  if (fiber_extras* e = f.extras.load(std::memory_order_acquire)) [[unlikely]] {
    e->storage.clear();
    forget_timeouts(f);
  }
  waiter* const first = std::exchange(f.first_joiner, nullptr);
  const wait_generation joined = f.first_joined;
  end_fiber(f);
  auto& w = static_cast<worker&>(current_host());  // a destructor may have parked
  w.leave(stack, first, joined);
}

// --- records ---

void worker::take_numbers() noexcept {
  constexpr std::uint64_t block = 256;
  number_ = core.next_number.fetch_add(block, std::memory_order_relaxed);
  numbers_end_ = number_ + block;
}

void worker::run_failed(fiber_record& f, fiber::stack& on) noexcept {
  homes::adopt(f, *this);
  fiber::make_context(f.context, on, &fiber_main);
  f.started = true;
  f.starving.store(false, std::memory_order_release);
  ready(f, false);
}

}  // namespace coir::sched
