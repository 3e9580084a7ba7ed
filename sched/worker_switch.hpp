// What a switch and a spawn do on every fiber's way, in each file that needs it: calls cost more.
#pragma once
#include "native_locks.hpp"
#include "runtime_core.hpp"
#include "visit.hpp"
#include "worker.hpp"

namespace coir::sched {

inline constexpr std::size_t page = 4096;

// The first thing on every stack that is switched to: the predecessor's context is saved, so what
// makes it findable runs now; then the gate, held since before the switch, is left.
[[gnu::always_inline]] inline void worker::finish_switch() noexcept {
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
[[gnu::always_inline]] inline worker& worker::switch_locked(fiber_record* to, fiber::context& from,
                                                            fiber::departure how) noexcept {
  if (running != nullptr) refuse_native_locks(*running);
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

inline bool worker::bind_locked(fiber_record& f) noexcept {
  fiber::stack* s = stacks_.take(f.stack_pages * page);
  if (s == nullptr) return false;
  if (measures_) fiber::paint(*s);
  fiber::make_context(f.context, *s, &fiber_main);
  f.started = true;
  return true;
}

inline void worker::push_locked(fiber_record& f) noexcept {
  queue_.push(f);
  publish_length_locked();
}

inline void worker::publish_length_locked() noexcept {
  waiting_.store(queue_.counts(), std::memory_order_relaxed);
}

// Wakes a sleeper if nobody searches and more is ready here than this worker is about to run
// itself: its loop will run one at once, a running fiber may go on for long. After a push, behind a
// light fence.
inline void worker::notify() noexcept {
  if (length() <= (running != nullptr ? 0u : 1u)) return;
  std_atomics::light_fence();
  wake_one();
}

inline void worker::wake_one() noexcept {
  const unsigned sleeper = core.idle.pick_for_work();
  if (sleeper != idle_set::nobody) [[unlikely]]
    core.workers[sleeper]->interrupt();
}

[[gnu::always_inline]] inline void worker::start(fiber_record& f) noexcept {
  homes::settle(f, *this);
  gate_.enter();
  push_locked(f);
  gate_.leave();
  std_atomics::light_fence();  // as in notify(): more is ready than what runs now
  wake_one();
}

inline fiber_record& worker::allocate(std::uint32_t size_class) {
  if (records_.empty(size_class)) [[unlikely]]
    core.records.refill(records_, size_class);
  return records_.pop(size_class);
}

inline void worker::recycle(fiber_record& f) noexcept {
  const std::uint32_t c = record_slab::of(f).size_class;
  if (records_.full(c)) [[unlikely]]
    core.records.drain(records_, c, free_records::most / 2);
  records_.push(c, f);
}

}  // namespace coir::sched
