// What a running fiber asks of its worker: to park, to yield, to make others ready. How it begins
// and ends: worker_life.cpp.
#include "worker.hpp"

#include <utility>

#include <coir/coroutine/coroutine_frame.hpp>
#include <coir/sched/cancellation.hpp>

#include "fatal.hpp"
#include "fiber_extras.hpp"
#include "runtime_core.hpp"
#include "visit.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

namespace {

// How many woken fibers in a row may pass the queue.
constexpr std::uint32_t next_uses_limit = 16;

// With more than that ready, the newest runs first if it has not started: it needs a stack, and so
// will its children; the oldest first would start them all before any ends. No more stacks than
// that are kept hot. Once a turn it is the oldest all the same.
constexpr std::size_t many_ready = fiber::stack_cache::limit;

// Not yet started, and not put off: calls of different times keep their order, however many there
// are.
bool was_spawned(const fiber_record& f) noexcept {
  return !f.started && f.waits_for.load(std::memory_order_relaxed) != wait_kind::sleep;
}

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
    } else if (queue_.size() > many_ready && next_ == nullptr && was_spawned(*queue_.back()) &&
               !std::exchange(oldest_first_, false)) [[unlikely]] {
      next_uses_ = 0;
      f = queue_.back();
      queue_.erase(*f);
      publish_length_locked();
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

void worker::push_next_locked(fiber_record& f) noexcept {
  if (next_ != nullptr) push_locked(*next_);
  next_ = &f;
}

void worker::publish_deadline_locked() noexcept {
  timer_count_.store(timers_.size(), std::memory_order_relaxed);
  earliest_.store(timers_.earliest().time_since_epoch().count(), std::memory_order_relaxed);
}

// The loop's side of the switch.
bool worker::run_ready(std::uint32_t ticks) noexcept {
  ticks_left_ = ticks;
  oldest_first_ = true;
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

// The waiter's home is this worker; the caller may be anywhere.
void worker::unpark(waiter& who) noexcept {
  auto& f = static_cast<fiber_record&>(who);
  f.state.store(task_state::ready, std::memory_order_relaxed);
  host* here = current_host_if_any();
  if (here != nullptr && here->kind == host_kind::worker) {
    auto& w = static_cast<worker&>(*here);
    if (&w.core == &core) {
      if (!f.pinned || &w == this)
        return w.scatters_ && w.scatter(f) ? void() : w.ready(f, w.running != nullptr);
      arrivals_.push(f);  // the runtime outlives its workers: nobody need be counted
      return interrupt_if_asleep();
    }
  }
  if (!f.pinned) return core.enqueue(f);
  const sender counted(core.records);
  arrivals_.push(f);
  interrupt_if_asleep();
}

void worker::post(request& r) noexcept {
  const sender counted(core.records);
  requests_.push(r);
  interrupt_if_asleep();
}

void worker::post_cancel(fiber_record& f) noexcept {
  const sender counted(core.records);
  cancels_.push(f);
  interrupt_if_asleep();
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

}  // namespace coir::sched
