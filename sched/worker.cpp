// What a running fiber asks of its worker: to park, to yield, to end, to make others ready.
#include "worker.hpp"

#include <utility>

#include <coir/coroutine/coroutine_frame.hpp>
#include <coir/sched/cancellation.hpp>

#include "fatal.hpp"
#include "fiber_end.hpp"
#include "fiber_extras.hpp"
#include "runtime_core.hpp"
#include "visit.hpp"

namespace coir::sched {

namespace {

// How many woken fibers in a row may pass the queue.
constexpr std::uint32_t next_uses_limit = 16;

constexpr std::size_t page = 4096;

}  // namespace

worker::worker(runtime_core& of, unsigned i, std::unique_ptr<driver> d)
    : host(host_kind::worker),
      core(of),
      index(i),
      scatters_(of.made_of.race != nullptr),
      measures_(of.opts.measure_stacks),
      random_(i * 2654435761u + 1),
      driver_(std::move(d)),
      stacks_(of.stacks, fiber::stack_pool::rounded(of.opts.stack_size)) {
  io = driver_.get();
  switches_with = this;
}

worker::~worker() {
  for (std::uint32_t c = 0; c < payload_sizes.size(); ++c) core.records.drain(records_, c, 0);
}

// --- the switch ---

// The first thing on every stack that is switched to: the predecessor's context is saved, so what
// makes it findable runs now; then the gate, held since before the switch, is left.
inline void worker::finish_switch() noexcept {
  if (const auto action = after_.run) {
    after_.run = nullptr;
    if (waiter* owed = action(after_.first, after_.second)) [[unlikely]] {
      gate_.leave();
      return wake(*owed);
    }
  }
  gate_.leave();
}

// Gate held. Runs `to` (null: the loop) and saves the running code as `from`. Returns on the worker
// that switched back.
inline worker& worker::switch_locked(fiber_record* to, fiber::context& from,
                                     fiber::departure how) noexcept {
  running = to;
  if (to != nullptr) {
    to->state.store(task_state::running, std::memory_order_relaxed);
    counts.add(counts.switches);
  }
  auto& now = static_cast<worker&>(
      fiber::switch_context(*this, from, to != nullptr ? to->context : loop_, how));
  now.finish_switch();
  return now;
}

void worker::fiber_main(fiber::carrier& on, fiber::context&) noexcept {
  auto& w = static_cast<worker&>(on);
  w.finish_switch();
  fiber_record& f = *w.current();
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

// On the ended fiber's own stack, for the last time. Nothing of the record is touched once it is
// released: the final switch is made from a context of the worker's.
void worker::end_current(fiber_record& f) noexcept {
  fiber::stack* const stack = f.context.on;
  f.shields = 1;  // a request that came too late does not strike where its result is destroyed
  if (fiber_extras* e = f.extras.load(std::memory_order_relaxed)) [[unlikely]]
    e->storage.clear();
  forget_timeouts(f);
  waiter* const joiner = end_fiber(f);
  auto& w = static_cast<worker&>(current_host());  // a destructor may have parked
  auto* next = static_cast<fiber_record*>(joiner);
  if (next != nullptr && !w.may_run_next(*next)) {
    wake(*next);
    next = nullptr;
  }
  w.leave(next, stack);
}

// Whether a claimed joiner can be jumped to at once.
bool worker::may_run_next(const waiter& w) const noexcept {
  const host* home = w.home.load(std::memory_order_relaxed);
  return home == this && ticks_left_ != 0;
}

void worker::leave(fiber_record* to, fiber::stack* stack) noexcept {
  dying_.on = stack;
  gate_.enter();
  after_ = {[](void* on, void* left) noexcept -> waiter* {
              auto& here = *static_cast<worker*>(on);
              auto* free = static_cast<fiber::stack*>(left);
              if (!here.core.took_back_reserve(free)) here.stacks_.put(free);
              here.counts.add(here.counts.ended);
              ++here.stacks_freed_;
              return nullptr;
            },
            this, stack};
  if (to != nullptr)
    --ticks_left_;
  else
    to = take_next_locked();
  switch_locked(to, dying_, fiber::departure::ended);
  fatal("a fiber that had ended was resumed");
}

// --- behind the gate ---

// The fiber to run now, on a stack; null when the loop's turn has come. What finds no stack waits
// for one.
fiber_record* worker::take_next_locked() noexcept {
  if (ticks_left_ == 0) return nullptr;
  --ticks_left_;
  for (;;) {
    fiber_record* f;
    if (next_ != nullptr && (next_uses_ < next_uses_limit || queue_.empty())) {
      f = std::exchange(next_, nullptr);
      ++next_uses_;
    } else {
      next_uses_ = 0;
      if (next_ != nullptr) queue_.push(*std::exchange(next_, nullptr));
      f = queue_.pop();
      if (f == nullptr) return nullptr;
      publish_length_locked();
    }
    if (f->started || bind_locked(*f)) return f;
    core.starve(*f);
  }
}

bool worker::bind_locked(fiber_record& f) noexcept {
  fiber::stack* s = stacks_.take(f.stack_pages * page);
  if (s == nullptr) return false;
  if (measures_) fiber::paint(*s);
  fiber::make_context(f.context, *s, &fiber_main);
  f.started = true;
  return true;
}

void worker::push_locked(fiber_record& f) noexcept {
  queue_.push(f);
  publish_length_locked();
}

void worker::push_next_locked(fiber_record& f) noexcept {
  if (next_ != nullptr) push_locked(*next_);
  next_ = &f;
}

void worker::publish_length_locked() noexcept {
  length_.store(queue_.size(), std::memory_order_relaxed);
  stealable_.store(queue_.movable(), std::memory_order_relaxed);
}

void worker::publish_deadline_locked() noexcept {
  timer_count_.store(timers_.size(), std::memory_order_relaxed);
  earliest_.store(timers_.earliest().time_since_epoch().count(), std::memory_order_relaxed);
}

// The loop's side of the switch.
bool worker::run_ready(std::uint32_t ticks) noexcept {
  ticks_left_ = ticks;
  gate_.enter();
  fiber_record* first = take_next_locked();
  if (first == nullptr) {
    gate_.leave();
    return false;
  }
  switch_locked(first, loop_, fiber::departure::parked);
  return true;
}

// --- parking ---

void worker::make_room_for_deadline() {
  gate_.enter();
  try {
    timers_.make_room();
  } catch (...) {
    gate_.leave();
    throw;
  }
  gate_.leave();
}

armed_timer worker::arm_locked(clock::time_point deadline, waiter& who, wait_generation wait) {
  timers_.make_room();  // there is, if the wait asked for it; out of memory ends the process here
  const armed_timer timer = timers_.arm(deadline, who, wait);
  publish_deadline_locked();
  return timer;
}

armed_timer worker::arm(clock::time_point deadline, waiter& who, wait_generation wait) noexcept {
  gate_.enter();
  const armed_timer timer = arm_locked(deadline, who, wait);
  gate_.leave();
  return timer;
}

void worker::park(waiter& who, after_switch after, clock::time_point deadline) noexcept {
  auto& f = static_cast<fiber_record&>(who);
  const auto wait = f.claim.look();
  gate_.enter();
  if (homes::is_asked_locked(f, wait)) [[unlikely]] {
    gate_.leave();
    f.claim.claim(wait.generation, outcome::cancelled);
    if (waiter* owed = after.run != nullptr ? after.run(after.first, after.second) : nullptr)
      wake(*owed);
    return;
  }
  armed_timer timer;
  if (deadline != never) timer = arm_locked(deadline, f, wait.generation);
  parks(f);
  after_ = after;
  worker& now = switch_locked(take_next_locked(), f.context, fiber::departure::parked);
  if (timer.entry != nullptr) now.disarm(*this, timer, f);
}

void worker::park_operation(waiter& who, operation& op, clock::time_point deadline) noexcept {
  auto& f = static_cast<fiber_record&>(who);
  const auto wait = f.claim.look();
  gate_.enter();
  f.operating = &op;
  if (homes::is_asked_locked(f, wait)) [[unlikely]]
    stop(f, operation::stop::cancellation);
  armed_timer timer;
  if (deadline != never) timer = arm_locked(deadline, f, wait.generation);
  parks(f);
  worker& now = switch_locked(take_next_locked(), f.context, fiber::departure::parked);
  if (timer.entry != nullptr) now.disarm(*this, timer, f);
}

// The owner of the ring, for a fiber that is parked in an operation here.
void worker::stop(waiter& w, operation::stop why) noexcept {
  if (w.operating->stopped_by != operation::stop::none) return;
  w.operating->stopped_by = why;
  io->stop(*w.operating);
}

void worker::disarm(worker& armed_at, const armed_timer& timer, const waiter& of) noexcept {
  if (of.claim.state() == outcome::timed_out) return;  // it has left the heap
  if (&armed_at != this) return armed_at.timers_.abandon(timer);
  gate_.enter();
  timers_.disarm(timer);
  publish_deadline_locked();
  gate_.leave();
}

void worker::yield() noexcept {
  fiber_record& f = *current();
  f.state.store(task_state::ready, std::memory_order_relaxed);
  gate_.enter();
  if (scatters_ && !f.pinned && core.made_of.race->scatter(index)) [[unlikely]] {
    after_ = {
        [](void* runtime, void* yielded) noexcept -> waiter* {
          static_cast<runtime_core*>(runtime)->injected.push(*static_cast<fiber_record*>(yielded));
          return nullptr;
        },
        &core, &f};
    switch_locked(take_next_locked(), f.context, fiber::departure::parked);
    return;
  }
  fiber_record* to = queue_.front();
  if (to != nullptr && next_ == nullptr && ticks_left_ != 0 && to->started) [[likely]] {
    --ticks_left_;
    next_uses_ = 0;
    queue_.rotate(f);
    if (f.pinned || to->pinned) publish_length_locked();
  } else {
    push_locked(f);
    to = take_next_locked();
    if (to == &f) {  // nobody else is ready
      f.state.store(task_state::running, std::memory_order_relaxed);
      return gate_.leave();
    }
  }
  switch_locked(to, f.context, fiber::departure::parked);
}

// --- making others ready ---

// Forced migration, for tests.
bool worker::scatter(fiber_record& f) noexcept {
  if (f.pinned || core.workers.size() == 1 || !core.made_of.race->scatter(index)) return false;
  core.enqueue(f);
  return true;
}

void worker::ready(fiber_record& f, bool run_next) noexcept {
  homes::adopt(f, *this);
  f.state.store(task_state::ready, std::memory_order_relaxed);
  gate_.enter();
  if (run_next)
    push_next_locked(f);
  else
    push_locked(f);
  gate_.leave();
  notify();
}

// Wakes a sleeper if nobody searches and more is ready here than this worker is about to run
// itself: its loop will run one at once, a running fiber may go on for long. After a push, behind a
// light fence.
void worker::notify() noexcept {
  if (length_.load(std::memory_order_relaxed) <= (running != nullptr ? 0u : 1u)) return;
  std_atomics::light_fence();
  wake_one();
}

void worker::wake_one() noexcept {
  const unsigned sleeper = core.idle.pick_for_work();
  if (sleeper != idle_set::nobody) [[unlikely]]
    core.workers[sleeper]->interrupt();
}

void worker::start(fiber_record& f) noexcept {
  homes::settle(f, *this);
  gate_.enter();
  push_locked(f);
  gate_.leave();
  notify();
}

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

// A join of a fiber that waits in this queue for its start: jumps straight to it, on the hottest
// stack. Its end jumps back, if the joiner still waits. False: it is elsewhere, or has started;
// nothing has happened.
bool worker::join_unstarted(fiber_record& f, fiber_record& joiner, wait_reason why,
                            clock::time_point deadline) noexcept {
  if (f.home.load(std::memory_order_relaxed) != this || ticks_left_ == 0) return false;
  gate_.enter();
  if (!waits_for_its_start_locked(f, *this) ||
      strikes_now(joiner.attention.load(std::memory_order_relaxed)) || !bind_locked(f)) {
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
  f.first_joiner = &joiner;
  f.first_joined =
      joiner.claim.begin(outcome::waiting, why.cancellable && may_be_cancelled(joiner));
  joiner.waits_for_id.store(why.id, std::memory_order_relaxed);
  joiner.waits_for.store(why.kind, std::memory_order_relaxed);
  armed_timer timer;
  if (deadline != never) timer = arm_locked(deadline, joiner, f.first_joined);
  parks(joiner);
  worker& now = switch_locked(&f, joiner.context, fiber::departure::parked);
  joiner.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  if (timer.entry != nullptr) now.disarm(*this, timer, joiner);
  return true;
}

// The waiter's home is this worker; the caller may be anywhere.
void worker::unpark(waiter& who) noexcept {
  auto& f = static_cast<fiber_record&>(who);
  f.state.store(task_state::ready, std::memory_order_relaxed);
  host* here = current_host_if_any();
  if (here != nullptr && here->kind == host_kind::worker) {
    auto& w = static_cast<worker&>(*here);
    if (&w.core == &core && (!f.pinned || &w == this))
      return w.scatters_ && w.scatter(f) ? void() : w.ready(f, w.running != nullptr);
  }
  if (!f.pinned) return core.enqueue(f);
  const sender counted(core.records);
  arrivals_.push(f);
  if (asleep_.exchange(false, std::memory_order_relaxed)) interrupt();
}

void worker::post(request& r) noexcept {
  const sender counted(core.records);
  requests_.push(r);
  if (asleep_.exchange(false, std::memory_order_relaxed)) interrupt();
}

void worker::post_cancel(fiber_record& f) noexcept {
  const sender counted(core.records);
  cancels_.push(f);
  if (asleep_.exchange(false, std::memory_order_relaxed)) interrupt();
}

// The threads have been joined, and nobody sends any more.
void worker::drop_messages() noexcept {
  for (waiter* w = cancels_.take(); w != nullptr;) {
    waiter* const after = w->cancel_next;
    let_go(static_cast<fiber_record&>(*w));
    w = after;
  }
}

void worker::measure(fiber_record& f) noexcept {
  if (!f.started) return;
  const fiber::stack* own = f.context.on;  // the stacks of coroutines are not painted
  for (const coroutine_frame* c = f.coroutine; c != nullptr; c = c->below) own = c->resumer.on;
  try {
    extras_of(f).stack_used.store(fiber::painted_high_water(*own), std::memory_order_relaxed);
  } catch (const std::bad_alloc&) {  // then it is not known
  }
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

// What is ready here never runs. A worker that hogs its thread is outside its gate.
void worker::forget_ready() noexcept {
  for (unsigned turn = 0; gate_.try_break_in() == break_in::lost; ++turn) std_atomics::pause(turn);
  while (queue_.pop() != nullptr) {}
  next_ = nullptr;
  publish_length_locked();
  gate_.break_out();
}

fiber_record& worker::allocate(std::uint32_t size_class) {
  if (records_.of_class[size_class].first == nullptr) core.records.refill(records_, size_class);
  return *records_.pop(size_class);
}

void worker::recycle(fiber_record& f) noexcept {
  const std::uint32_t c = record_slab::of(f).size_class;
  records_.push(c, f);
  if (records_.of_class[c].size > record_store::cache_limit)
    core.records.drain(records_, c, record_store::cache_limit / 2);
}

}  // namespace coir::sched
