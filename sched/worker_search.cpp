// A worker that has run dry: it steals, polls a while, and rescues what lies behind a hog.
#include <algorithm>
#include <utility>

#include "runtime_core.hpp"
#include "visit.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

namespace {

constexpr std::size_t most_stolen = 64;
constexpr unsigned looks_before_a_raid = 16;

// Idle polling: of a worker that has not the place, and how often one looks before it asks for the
// time, which costs as much as a look.
constexpr clock::duration short_look = std::chrono::microseconds(4);
constexpr unsigned looks_a_clock = 8;

std::uint32_t next_random(std::uint32_t& state) noexcept {
  state ^= state << 13;
  state ^= state >> 17;
  return state ^= state << 5;
}

}  // namespace

bool worker::search() noexcept {
  const std::size_t n = core.workers.size();
  if (n == 1 || (!searching_ && !core.idle.start_searching())) return poll_a_while();
  searching_ = true;
  bool found = false, lost = false;
  const std::size_t start =
      (core.made_of.random ? core.made_of.random->next(index) : next_random(random_)) % n;
  for (std::size_t i = 0; i < n && !found; ++i) {
    worker& victim = *core.workers[(start + i) % n];
    if (&victim == this || victim.stealable() == 0) continue;
    found = stays_stealable(victim) && steal_from(victim, false);
    lost |= !found;
  }
  found = found || poll_a_while();
  lost_searches_ = found ? 0 : lost_searches_ + lost;
  if (!found) return false;
  end_search();
  return true;
}

// Pushes that were made while this worker searched relied on it: if it was the last to search, it
// passes that on.
void worker::end_search() noexcept {
  searching_ = false;
  if (!core.idle.stop_searching()) return;
  if (length() > 1 || work_in_sight()) wake_one();
}

// Whether what the victim has ready is more than it is about to run itself: a raid costs both
// microseconds, and who spawns a fiber mostly joins it at once.
bool worker::stays_stealable(const worker& victim) noexcept {
  for (unsigned look = 0; look < looks_before_a_raid; ++look) {
    std_atomics::pause(0);
    if (victim.stealable() == 0) return false;
  }
  return true;
}

// Half of what the victim has ready, at most 64; of a hog also the fiber that was to run next, due
// timers and cancellations. False: nothing, or lost to somebody else.
bool worker::steal_from(worker& victim, bool from_hog) noexcept {
  if (victim.gate_.try_break_in() == break_in::lost) return false;
  visit v(*this);
  const std::size_t half = (victim.queue_.size() + 1) / 2;
  // Their home changes behind the victim's gate, so that whoever is behind it later forwards what
  // is meant for them.
  std::size_t taken =
      victim.queue_.take_movable(std::min(half, most_stolen), [&](fiber_record& f) { v.take(f); });
  if (from_hog) {
    if (victim.next_ != nullptr && !victim.next_->pinned) {
      v.take(*std::exchange(victim.next_, nullptr));
      ++taken;
    }
    v.take_cancels(victim);
    v.take_timers(victim, clock::now());
  }
  victim.publish_length_locked();
  victim.gate_.break_out();
  if (taken != 0) {
    counts.add(counts.steals);
    counts.add(counts.stolen, taken);
  }
  return v.finish();
}

void worker::rescue(worker& hog) noexcept { steal_from(hog, true); }

// Idle polling: waking a halted processor costs more than looking for some microseconds, if looking
// often pays. One worker at most; another looks for as long as falling asleep would take it, for
// two fibers that answer each other from two workers: it gets the place when the first has its
// answer.
bool worker::poll_a_while() noexcept {
  const clock::duration limit = saturated(core.opts.idle_poll);
  if (limit <= clock::duration::zero()) return false;
  if (poll_skips_ != 0) return --poll_skips_, false;
  const clock::time_point begin = clock::now();
  const auto until = [&](clock::duration d) {
    return std::min(later(begin, d), earliest_deadline());
  };
  bool has_the_place = false, found = false;
  clock::time_point end = until(std::min(limit, short_look));
  do {
    if (!has_the_place && !core.someone_polls.load(std::memory_order_relaxed)) {
      has_the_place = !core.someone_polls.exchange(true, std::memory_order_acquire);
      if (has_the_place) end = until(limit);
    }
    // Others' queues less often: each look costs their owners a cache line.
    found = (searching_ && work_in_sight()) || core.leaving.load(std::memory_order_relaxed);
    for (unsigned n = 0; !found && n < looks_a_clock; ++n) {
      ready_list done;
      if (io->busy()) io->poll(done);
      found = !done.empty() || has_messages();
      take_in(done);
      std_atomics::pause(0);
    }
  } while (!found && clock::now() < end);
  if (has_the_place) core.someone_polls.store(false, std::memory_order_release);
  constexpr std::uint32_t few = 4, most_skips = 64;
  poll_misses_ = found ? 0 : poll_misses_ + 1;
  if (poll_misses_ > few) poll_skips_ = std::min(most_skips, 1u << (poll_misses_ - few));
  if (poll_misses_ > few + 6) poll_misses_ = few + 6;
  return found;
}

}  // namespace coir::sched
