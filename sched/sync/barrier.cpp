#include <coir/sched/cancellation.hpp>
#include <coir/sync/barrier.hpp>

#include <string>

#include "../fatal.hpp"

// Who arrives waits in `waiting_` for the end of the phase; the last to arrive claims all of them,
// which moves them to `draining_`, runs the completion, and then wakes them. Each takes itself out
// of there when it runs, and learns behind the lock how it ended: asyncio's abort and reset also
// strike who has been released but has not gone on. The next phase fills meanwhile.
//
// Always true: pending_ counts no arrival of a wait that somebody behind the lock has seen to be
// over. When the lock is free, a phase that nobody is missing from is one whose predecessor's
// completion still runs.
namespace coir::sched {

struct barrier_core::visitor : wait_node {
  enum class verdict : std::uint8_t { none, released, broken, taken_back };
  explicit visitor(bool a) noexcept : arrived(a) {}
  const bool arrived;           // or has arrived before, and only waits
  verdict how = verdict::none;  // under the lock, until it is out
  std::size_t index = 0;

  static visitor& of(wait_node& n) noexcept { return static_cast<visitor&>(n); }
};

barrier_core::barrier_core(std::ptrdiff_t parties, completion done, void* of)
    : complete_(done), of_(of), parties_(parties), pending_(parties) {
  if (parties < 1)
    throw std::invalid_argument("coir: a barrier for " + std::to_string(parties) +
                                " parties: there is at least one");
}

barrier_core::~barrier_core() {
  if (!waiting_.settle(lock_) || !blocked_.settle(lock_))
    fatal("a barrier was destroyed while somebody waited for it");
  draining_.settle(lock_);
}

// The arrivals of those who have been cancelled, or have given up, and have not run yet. One that
// has been asked to end but not been reached by the message is cancelled here.
void barrier_core::take_back_cancelled_locked(ready_list& cancelled) noexcept {
  for (wait_node *n = waiting_.front(), *next; n != nullptr; n = next) {
    next = waiting_.after(*n);
    visitor& v = visitor::of(*n);
    if (!v.arrived || v.how != visitor::verdict::none) continue;
    waiter& w = *n->who;
    const auto wait = w.claim.look();
    // Who loses the claim loses it to whoever ends that wait as well: it is over, too.
    bool over = wait.generation != n->generation || wait.state != outcome::waiting;
    if (!over) {
      if (!strikes_now(w.attention.load(std::memory_order_acquire))) continue;
      over = !w.claim.claim(n->generation, outcome::cancelled);
    }
    v.how = visitor::verdict::taken_back;
    ++pending_;
    waiting_.drop(*n);
    if (!over) cancelled.push(w);
  }
}

// Whether this phase can end now.
bool barrier_core::full_locked(ready_list& cancelled) noexcept {
  if (pending_ == 0) take_back_cancelled_locked(cancelled);
  return pending_ == 0 && !completing_;
}

// Ends the phase. Those who are claimed are still to be woken. One that was cancelled just now has
// been released all the same: it returns, and its cancellation comes at the next call.
std::size_t barrier_core::release_locked(ready_list& released) noexcept {
  std::size_t index = 0;
  for (wait_node *n = waiting_.front(), *next; n != nullptr; n = next) {
    next = waiting_.after(*n);
    visitor& v = visitor::of(*n);
    if (v.how != visitor::verdict::none) continue;  // taken back, and about to go
    v.how = visitor::verdict::released;
    if (v.arrived) v.index = index++;
    waiting_.erase(*n);
    draining_.push(*n);
    if (n->who->claim.claim(n->generation, outcome::granted)) released.push(*n->who);
  }
  ++phase_;
  pending_ = parties_;
  last_was_broken_ = false;
  return index;
}

void barrier_core::unblock_locked(ready_list& woken) noexcept {
  while (waiter* w = blocked_.claim_first()) woken.push(*w);
}

void barrier_core::complete(ready_list& woken) {
  try {
    complete_(of_);
  } catch (...) {
    lock_.lock();
    completing_ = false;
    abort_locked(woken);
    lock_.unlock();
    wake(woken);
    throw;
  }
}

// The lock is held, and the phase is full; not held on return. The last index of the phase.
std::size_t barrier_core::end_phase() {
  ready_list released;
  const std::size_t index = release_locked(released);
  completing_ = complete_ != nullptr;
  lock_.unlock();  // without a completion the barrier may be gone once the first of them runs
  if (complete_ == nullptr) return wake(released), index;
  for (bool again = true; again;) {
    complete(released);
    ready_list others, next;
    lock_.lock();
    completing_ = false;
    unblock_locked(others);
    again = full_locked(others);  // it filled up meanwhile, and its last arrival left it to us
    if (again) release_locked(next);
    completing_ = again;
    lock_.unlock();
    wake(released);
    wake(others);
    released = next;
  }
  return index;
}

barrier_core::arrival barrier_core::arrive(std::ptrdiff_t n, bool drop) {
  ready_list woken;
  lock_.lock();
  if (broken_) {
    lock_.unlock();
    throw broken_barrier();
  }
  if (n < 1 || n > pending_)
    fatal("%td arrivals were made at a barrier that waits for %td", n, pending_);
  const arrival made{phase_};
  pending_ -= n;
  if (drop) --parties_;
  if (full_locked(woken)) return end_phase(), made;
  lock_.unlock();
  wake(woken);
  return made;
}

// The lock is held; not on return. Waits for the end of a completion. False: too late.
bool barrier_core::until_completed(clock::time_point deadline) {
  wait_node node;
  const outcome how = wait_in(blocked_, lock_, node, {wait_kind::barrier}, deadline);
  if (how == outcome::cancelled) throw_cancelled(*node.who);
  return how == outcome::granted;
}

std::optional<std::size_t> barrier_core::arrive_and_wait(clock::time_point deadline) {
  cancellation_point(*current_host().running);
  for (;;) {
    if (deadline != never) current_host().make_room_for_deadline();  // or throws, before it arrives
    lock_.lock();
    if (broken_) {
      lock_.unlock();
      throw broken_barrier();
    }
    if (pending_ == 0) {
      if (!completing_) fatal("an arrival was made at a barrier that waits for nobody any more");
      if (!until_completed(deadline)) return std::nullopt;
      continue;
    }
    ready_list cancelled;
    --pending_;
    if (full_locked(cancelled)) return end_phase();
    if (cancelled.empty()) break;
    ++pending_;  // they are woken without the lock, and then we come again
    lock_.unlock();
    wake(cancelled);
  }
  visitor me(true);
  waiting_.push(me);
  return leave(me, wait_linked(lock_, me, {wait_kind::barrier}, deadline));
}

bool barrier_core::wait(arrival a, clock::time_point deadline) {
  for (bool asked = false;;) {
    lock_.lock();
    const bool ended = a.phase != phase_;
    const bool completed = !completing_ || a.phase + 1 != phase_;
    if (ended && completed) {
      const bool bad = broken_ || (last_was_broken_ && a.phase + 1 == phase_);
      lock_.unlock();
      if (bad) throw broken_barrier();
      return true;
    }
    if (!std::exchange(asked, true)) {
      lock_.unlock();
      cancellation_point(*current_host().running);
      if (deadline != never) current_host().make_room_for_deadline();
      continue;
    }
    if (ended) {
      if (!until_completed(deadline)) return false;
      continue;
    }
    visitor me(false);
    waiting_.push(me);
    return leave(me, wait_linked(lock_, me, {wait_kind::barrier}, deadline)).has_value();
  }
}

std::optional<std::size_t> barrier_core::leave(visitor& me, outcome how) {
  if (waiting_.leave(me, lock_)) {
    if (me.how == visitor::verdict::none && me.arrived) ++pending_;
    lock_.unlock();
  }
  if (me.how == visitor::verdict::released) return me.index;
  if (me.how == visitor::verdict::broken) throw broken_barrier();
  if (how == outcome::cancelled) throw_cancelled(*me.who);
  return std::nullopt;
}

void barrier_core::break_draining_locked() noexcept {
  for (wait_node* n = draining_.front(); n != nullptr; n = draining_.after(*n))
    visitor::of(*n).how = visitor::verdict::broken;
}

void barrier_core::break_waiting_locked(ready_list& woken) noexcept {
  for (wait_node *n = waiting_.front(), *next; n != nullptr; n = next) {
    next = waiting_.after(*n);
    visitor& v = visitor::of(*n);
    v.how = visitor::verdict::taken_back;  // if it was cancelled, or gave up, first
    if (waiter* w = waiting_.claim(*n)) {
      v.how = visitor::verdict::broken;
      draining_.push(v);
      woken.push(*w);
    }
  }
  ++phase_;
  pending_ = parties_;
  last_was_broken_ = true;
}

void barrier_core::abort_locked(ready_list& woken) noexcept {
  broken_ = true;
  break_draining_locked();
  break_waiting_locked(woken);
  unblock_locked(woken);
}

void barrier_core::abort() noexcept {
  ready_list woken;
  lock_.lock();
  abort_locked(woken);
  lock_.unlock();
  wake(woken);
}

void barrier_core::reset() noexcept {
  ready_list woken;
  lock_.lock();
  if (draining_.empty())
    break_waiting_locked(woken);
  else
    break_draining_locked();
  broken_ = false;
  lock_.unlock();
  wake(woken);
}

bool barrier_core::broken() noexcept {
  lock_.lock();
  const bool is = broken_;
  lock_.unlock();
  return is;
}

std::ptrdiff_t barrier_core::parties() noexcept {
  lock_.lock();
  const std::ptrdiff_t n = parties_;
  lock_.unlock();
  return n;
}

std::size_t barrier_core::waiting() noexcept {
  std::size_t n = 0;
  lock_.lock();
  for (wait_node* w = waiting_.front(); w != nullptr; w = waiting_.after(*w))
    n += visitor::of(*w).arrived && visitor::of(*w).how == visitor::verdict::none;
  lock_.unlock();
  return n;
}

}  // namespace coir::sched
