// The worker's own loop: look around, run what is ready, search, sleep.
#include <algorithm>
#include <utility>

#include "fatal.hpp"
#include "runtime_core.hpp"
#include "visit.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

namespace {

// Switches from fiber to fiber before the loop looks at messages, timers, the injector and the
// kernel again.
constexpr std::uint32_t ticks_a_turn = 61;

// How often the sleeper that looks after hogs wakes while others are awake.
constexpr std::chrono::milliseconds sentinel_tick{4};
// How often a worker that never runs dry looks after hogs while nobody sleeps.
constexpr std::chrono::milliseconds busy_tick{16};

// A worker that has slept that long gives the stacks of a peak back.
constexpr std::chrono::milliseconds decay_after{500};
constexpr std::size_t stacks_kept_idle = 16;

// When all have slept that long, and nothing is awaited, somebody looks for fibers that join each
// other.
constexpr std::chrono::seconds deadlock_patience{1};

}  // namespace

void worker::attach() {
  carrier::attach();
  fiber::make_thread_context(loop_, thread_stack_);
  set_current_host(this);
  io->attach();
}

void worker::detach() noexcept {
  io->detach();
  set_current_host(nullptr);
}

void worker::run() {
  while (!core.leaving.load(std::memory_order_acquire)) {
    look_around();
    if (length() != 0) {
      if (searching_) end_search();
      if (slept_) ask_for_sentinel();
    }
    if (run_ready(ticks_a_turn)) continue;
    if (search()) continue;
    sleep();
  }
}

// Whatever does not come by itself: messages, deadlines, what others injected, completions.
void worker::look_around() noexcept {
  turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (core.in_forked_child()) [[unlikely]]
    fatal("a fiber went on after fork(2): a runtime does not survive it; call exec or _exit");
  io_in_flight_.store(io->in_flight(), std::memory_order_relaxed);

  const clock::time_point now = clock::now();
  moment_ = moment(now);
  if (now >= next_watch_) watch_if_nobody_sleeps(now);
  const bool messages = !cancels_.empty() || !requests_.empty() || !arrivals_.empty();
  const bool timers = earliest_deadline() != never;
  if (messages || (timers && earliest_deadline() <= now)) {
    visit v(*this);
    gate_.enter();
    v.take_requests(*this);
    v.take_cancels(*this);
    v.take_arrivals(*this);
    v.take_timers(*this, now);
    gate_.leave();
    v.finish();
  }

  if (!core.injected.empty()) {
    const std::size_t share = core.injected.size() / core.workers.size() + 1;
    core.injected.take(std::min<std::size_t>(share, 64),
                       [this](fiber_record& f) { ready(f, false); });
    // Who pushed may have relied on this worker as a searcher for more than its share.
    if (!core.injected.empty()) wake_one();
  }

  if (!core.late_alarms.empty()) [[unlikely]] {
    ready_list late = core.late_alarms.take();
    strike_all(late, *this);
  }

  if (stacks_freed_ != 0 && core.refusing.load(std::memory_order_relaxed)) core.fiber_ended();
  if (!core.starving.empty()) {
    feed(core.starving, stacks_freed_ + stacks_.cached());
    if (!core.starving.empty()) core.wake_one_with_stacks();
  }
  if (!core.starving_others.empty()) feed(core.starving_others, stacks_freed_);
  stacks_freed_ = 0;

  // A lone worker that has run dry submits and waits in one system call instead: sleep().
  const bool lone = core.workers.size() == 1;  // then nobody else touches its run-next slot
  if (io->busy() && (!lone || length() != 0 || next_ != nullptr)) {
    ready_list done;
    io->poll(done);
    take_in(done);
  }
}

// Fibers that wait for a stack try again, as many as stacks have come free here. Those of other
// sizes than the usual cannot use a cached one.
void worker::feed(injector& line, std::size_t n) noexcept {
  for (; n > 0; --n) {
    fiber_record* f = line.pop();
    if (f == nullptr) return;
    homes::adopt(*f, *this);
    gate_.enter();
    const bool bound = bind_locked(*f);  // here and now: a thief might have no stack for it
    gate_.leave();
    if (!bound) return core.starve(*f);
    f->starving.store(false, std::memory_order_release);
    ready(*f, false);
  }
}

// Deadlines of fibers that have moved and ended their wait keep nobody from ending.
void worker::sweep_timers() noexcept {
  gate_.enter();
  timers_.sweep();
  publish_deadline_locked();
  gate_.leave();
}

void worker::take_in(ready_list& done) noexcept {
  if (done.empty()) return;
  while (waiter* w = done.pop()) {
    auto& f = static_cast<fiber_record&>(*w);
    f.state.store(task_state::ready, std::memory_order_relaxed);
    if (scatters_ && scatter(f)) continue;
    homes::adopt(f, *this);
    gate_.enter();
    push_locked(f);
    gate_.leave();
  }
  notify();
}

// --- falling asleep: sched/README.md has the protocol and its proof
// --------------------------------------------------

bool worker::has_messages() const noexcept {
  return !cancels_.empty() || !requests_.empty() || !arrivals_.empty() || !core.injected.empty();
}

// Anything that this worker could take up, now.
bool worker::work_in_sight() const noexcept {
  if (has_messages()) return true;
  if (!core.starving.empty() && stacks_.cached() != 0) return true;
  // A victim that cannot be broken into again and again is awake and busy; the sentinel looks after
  // it.
  constexpr std::uint32_t enough = 3;
  if (lost_searches_ >= enough) return false;
  for (auto& w : core.workers)
    if (w.get() != this && w->stealable() != 0) return true;
  return false;
}

void worker::sleep() noexcept {
  ready_list done;
  asleep_.store(true, std::memory_order_relaxed);
  waits_for_io_.store(io->busy(), std::memory_order_relaxed);
  io_in_flight_.store(io->in_flight(), std::memory_order_relaxed);  // since then it has polled
  stacks_asleep_.store(stacks_.cached(), std::memory_order_relaxed);
  if (core.anyone_starves()) sweep_timers();
  core.idle.announce(index, std::exchange(searching_, false));
  if (!work_in_sight() && !core.leaving.load(std::memory_order_acquire) &&
      !core.starvation_resolved()) {
    counts.add(counts.sleeps);
    clock::time_point until = wake_up_time();
    if (!core.late_alarms.empty()) until = std::min(until, clock::now() + sentinel_tick);
    const clock::time_point look =
        core.may_be_deadlocked() ? clock::now() + deadlock_patience : never;
    until = std::min(until, look);
    const bool decay = stacks_.cached() > stacks_kept_idle && until - clock::now() > decay_after;
    if (decay) until = clock::now() + decay_after;
    io->wait(until, done);
    lost_searches_ = 0;
    if (decay && done.empty() && clock::now() >= until) stacks_.give_back();
    if (look != never && done.empty() && clock::now() >= look) core.look_for_deadlock();
    end_watch();
  }
  asleep_.store(false, std::memory_order_relaxed);
  stacks_asleep_.store(0, std::memory_order_relaxed);
  if (!core.idle.retract(index)) searching_ = true;
  slept_ = true;
  take_in(done);
}

// The deadline of a sleep: the own timers', or the sentinel's next look if this worker becomes the
// sentinel. A hog is outside its gate, so what is ready behind it, its timers and the cancellations
// sent to it can be taken over.
clock::time_point worker::wake_up_time() noexcept {
  const clock::time_point own = earliest_deadline();
  if (core.workers.size() == 1) return own;
  unsigned none = idle_set::nobody;
  if (!core.sentinel.compare_exchange_strong(none, index, std::memory_order_acquire)) return own;
  // Everybody sleeps and no other loop has turned since the last look: no more looks until somebody
  // wakes. The slot is given up first and the sleepers counted after that, because who wakes does
  // it the other way round: it leaves the sleepers, then looks for a sentinel.
  const std::uint64_t turns = core.turns_of_all() - this->turns();
  if (core.idle.sleeping() == core.workers.size() && turns == turns_at_watch_) {
    core.sentinel.store(idle_set::nobody, std::memory_order_release);
    std_atomics::fence();
    if (core.idle.sleeping() == core.workers.size()) return own;
    none = idle_set::nobody;
    if (!core.sentinel.compare_exchange_strong(none, index, std::memory_order_acquire)) return own;
  }
  turns_at_watch_ = turns;
  if (!any_hog()) begin_watch(clock::now());
  return std::min(own, core.watched + sentinel_tick);  // has passed: looks at once
}

// By the sentinel. A watch goes on if it is woken early, and under the next sentinel, as long as
// somebody has not turned since it began: for less than a tick that is no hog, but somebody who has
// just begun to run something, and a raid would cost both microseconds.
void worker::begin_watch(clock::time_point now) noexcept {
  core.watched = now;
  for (auto& w : core.workers) w->turns_seen_ = w->turns_.load(std::memory_order_relaxed);
}

void worker::end_watch() noexcept {
  if (core.sentinel.load(std::memory_order_relaxed) != index) return;
  if (const clock::time_point now = clock::now(); core.watched + sentinel_tick <= now) {
    look_after_hogs();
    begin_watch(now);
  }
  core.sentinel.store(idle_set::nobody, std::memory_order_release);
}

// The sentinel: of those whose loops have not turned since the watch began.
void worker::look_after_hogs() noexcept {
  for (auto& w : core.workers)
    if (is_hog(*w)) rescue(*w);
}

bool worker::is_hog(const worker& w) const noexcept {
  return &w != this && !w.asleep_.load(std::memory_order_relaxed) &&
         w.turns_.load(std::memory_order_relaxed) == w.turns_seen_;
}

bool worker::any_hog() const noexcept {
  return std::any_of(core.workers.begin(), core.workers.end(),
                     [this](const auto& w) { return is_hog(*w); });
}

// If no worker ever sleeps there is no sentinel: those whose loops turn take its place for a
// moment.
void worker::watch_if_nobody_sleeps(clock::time_point now) noexcept {
  next_watch_ = now + busy_tick;
  unsigned none = idle_set::nobody;
  if (core.workers.size() == 1 || core.idle.anyone_sleeps() ||
      !core.sentinel.compare_exchange_strong(none, index, std::memory_order_acquire))
    return;
  if (now - core.watched >= busy_tick) {
    look_after_hogs();
    begin_watch(now);
  }
  core.sentinel.store(idle_set::nobody, std::memory_order_release);
  // Who fell asleep meanwhile has found the place taken.
  std_atomics::fence();
  if (core.idle.anyone_sleeps()) ask_for_sentinel();
}

// Awake again, and about to run something: somebody has to watch over it.
void worker::ask_for_sentinel() noexcept {
  slept_ = false;
  if (core.workers.size() == 1) return;
  std_atomics::fence();  // after leaving the sleepers: wake_up_time has the other half
  if (core.sentinel.load(std::memory_order_relaxed) == idle_set::nobody) wake_one();
}

}  // namespace coir::sched
