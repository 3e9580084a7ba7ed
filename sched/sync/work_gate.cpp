// Always true, while the lock is free: places_ is items_ and the permits that are out;
// nobody waits to get while
// items_ is not 0, nor to put while a place is free; closed_ with neither items nor permits is for
// ever.
#include <coir/sched/work_gate.hpp>

#include <algorithm>
#include <utility>

#include <coir/sched/cancellation.hpp>
#include <coir/sync/channel_closed.hpp>

#include "../fatal.hpp"

namespace coir::sched {

namespace {

// What the claimer leaves in the node of a wait to get.
constexpr std::uint64_t permitted = 0, refused = 1;

void wake_all(ready_list& woken) noexcept {
  while (waiter* w = woken.pop()) wake(*w);
}

}  // namespace

work_gate::~work_gate() {
  for (wait_queue* q : {&putters_, &getters_, &joiners_})
    if (!q->settle(lock_)) fatal("a work_queue was destroyed while somebody waited for it");
}

wait_node* work_gate::claim_first_locked(wait_queue& in) noexcept {
  for (wait_node* n = in.front(); n != nullptr;) {
    wait_node* const next = in.after(*n);
    if (in.claim(*n) != nullptr) return n;
    n = next;
  }
  return nullptr;
}

// An item that nobody has a permit for, or whose permit has been given back.
void work_gate::item_there_locked(ready_list& woken) noexcept {
  if (wait_node* const getter = claim_first_locked(getters_)) {
    woken.push(*getter->who);
  } else {
    ++items_;
  }
}

// Of who waits to put the first gets the place: to be served, so that items go in as their putters
// came.
waiting_put* work_gate::place_free_locked() noexcept {
  auto* const putter = static_cast<waiting_put*>(claim_first_locked(putters_));
  if (putter == nullptr) --places_;
  return putter;
}

void work_gate::wake_drained_locked(ready_list& woken) noexcept {
  if (!closed_ || places_ != 0) return;
  while (wait_node* const getter = claim_first_locked(getters_)) {
    getter->amount = refused;
    woken.push(*getter->who);
  }
}

void work_gate::done_locked(std::size_t n, ready_list& woken) noexcept {
  unfinished_ -= n;
  if (unfinished_ != 0) return;
  while (waiter* w = joiners_.claim_first()) woken.push(*w);
}

work_gate::put_is work_gate::begin_put(void* item, clock::time_point deadline, bool may_wait) {
  waiter& me = *current_host().running;
  if (may_wait) cancellation_point(me);
  lock_.lock();
  const bool place = most_ == 0 || places_ < most_;
  if (closed_ || place || !may_wait) {
    const bool closed = closed_;
    if (place && !closed) ++places_;
    lock_.unlock();
    if (closed) throw channel_closed();
    return place ? put_is::permitted : put_is::refused;
  }
  waiting_put put;
  put.item = item;
  const outcome how = wait_in(putters_, lock_, put, {wait_kind::put}, deadline);
  if (how == outcome::cancelled) throw_cancelled(me);
  if (how == outcome::timed_out) return put_is::refused;
  if (put.refused) throw channel_closed();
  if (put.error != nullptr) std::rethrow_exception(std::move(put.error));
  return put_is::over;
}

bool work_gate::begin_get(clock::time_point deadline, bool may_wait) {
  waiter& me = *current_host().running;
  if (may_wait) cancellation_point(me);
  lock_.lock();
  const bool item = items_ != 0, drained = closed_ && places_ == 0;
  if (item || drained || !may_wait) {
    if (item) --items_;
    lock_.unlock();
    if (drained) throw channel_closed();
    return item;
  }
  wait_node node;
  node.amount = permitted;
  const outcome how = wait_in(getters_, lock_, node, {wait_kind::get}, deadline);
  if (how == outcome::cancelled) throw_cancelled(me);
  if (how == outcome::granted && node.amount == refused) throw channel_closed();
  return how == outcome::granted;
}

work_gate::duty work_gate::end_put(bool stored) noexcept {
  ready_list woken;
  duty next;
  lock_.lock();
  if (stored) ++unfinished_;
  if (stored && dropping_)
    next.drop = 1;  // our permit is now one to get
  else if (stored)
    item_there_locked(woken);
  else
    next.serve = place_free_locked();
  wake_drained_locked(woken);
  lock_.unlock();
  wake_all(woken);
  return next;
}

work_gate::duty work_gate::put_served(waiting_put& put) noexcept {
  const duty next = end_put(put.error == nullptr);
  wake(*put.who);
  return next;
}

work_gate::duty work_gate::end_get(bool taken) noexcept {
  ready_list woken;
  duty next;
  lock_.lock();
  if (taken)
    next.serve = place_free_locked();
  else if (dropping_)
    next.drop = 1;
  else
    item_there_locked(woken);
  wake_drained_locked(woken);
  lock_.unlock();
  wake_all(woken);
  return next;
}

work_gate::duty work_gate::shutdown(bool immediate) noexcept {
  ready_list woken;
  duty next;
  lock_.lock();
  closed_ = true;
  dropping_ = dropping_ || immediate;
  while (wait_node* const putter = claim_first_locked(putters_)) {
    static_cast<waiting_put*>(putter)->refused = true;
    woken.push(*putter->who);
  }
  if (immediate) next.drop = std::exchange(items_, 0);
  wake_drained_locked(woken);
  lock_.unlock();
  wake_all(woken);
  return next;
}

void work_gate::dropped(std::size_t n) noexcept {
  ready_list woken;
  lock_.lock();
  places_ -= n;
  done_locked(std::min(n, unfinished_), woken);
  wake_drained_locked(woken);
  lock_.unlock();
  wake_all(woken);
}

void work_gate::task_done() noexcept {
  ready_list woken;
  lock_.lock();
  if (unfinished_ == 0) fatal("task_done was called more often than items were put");
  done_locked(1, woken);
  lock_.unlock();
  wake_all(woken);
}

bool work_gate::join(clock::time_point deadline) {
  waiter& me = *current_host().running;
  cancellation_point(me);
  lock_.lock();
  if (unfinished_ == 0) {
    lock_.unlock();
    return true;
  }
  wait_node node;
  const outcome how = wait_in(joiners_, lock_, node, {wait_kind::tasks_done}, deadline);
  if (how == outcome::cancelled) throw_cancelled(me);
  return how == outcome::granted;
}

std::size_t work_gate::size() const noexcept {
  lock_.lock();
  const std::size_t n = items_;
  lock_.unlock();
  return n;
}

}  // namespace coir::sched
