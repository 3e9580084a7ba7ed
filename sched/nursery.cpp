#include <coir/sched/nursery.hpp>

#include <stdexcept>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sched/host.hpp>

#include "fiber_extras.hpp"
#include "record_store.hpp"
#include "runtime_core.hpp"

namespace coir::sched {

void group_member::enter(fiber_record& f) noexcept {
  record = &f;
  group.enter(*this);
}
void group_member::ended() noexcept { group.told(*this); }
group_member::~group_member() {
  if (entered) group.withdraw(*this);
}

nursery::~nursery() {
  while (group_member* m = failed_.pop_front()) release(*m->record);
  if (winner_ != nullptr) release(*winner_);
}

// --- coming and going ---

void nursery::take_place() {
  waiter& me = *current_host().running;
  cancellation_point(me);
  lock_.lock();
  outcome how = outcome::granted;
  if (joined_ || cancelled_.load(std::memory_order_relaxed) || at_most_ == 0 || alive_ < at_most_) {
    ++alive_;
    lock_.unlock();
  } else {
    wait_node node;
    how = wait_in(spawners_, lock_, node, {wait_kind::group}, never);
  }
  if (how == outcome::cancelled) throw_cancelled(me);
  lock_.lock();
  const bool joined = joined_, ends = cancelled_.load(std::memory_order_relaxed);
  lock_.unlock();
  if (!joined && !ends) return;
  leave();
  if (joined) throw std::logic_error("coir: spawn in a task_group that has been joined");
  throw coir::cancelled(fiber_id{}, "the task group has been cancelled");
}

void nursery::leave() noexcept {
  ready_list woken;
  lock_.lock();
  if (waiter* next = spawners_.claim_first()) {
    woken.push(*next);  // the place is its
  } else if (--alive_ == 0) {
    while (waiter* w = joiners_.claim_first()) woken.push(*w);
  }
  lock_.unlock();  // the nursery may be gone from here on
  while (waiter* w = woken.pop()) wake(*w);
}

void nursery::enter(group_member& m) noexcept {
  lock_.lock();
  m.entered = true;
  living_.push_back(m);
  lock_.unlock();
}

void nursery::withdraw(group_member& m) noexcept {
  lock_.lock();
  members::erase(m);
  m.entered = false;
  lock_.unlock();
}

// A member has ended. Its own reference is still there.
void nursery::told(group_member& m) noexcept {
  fiber_record& f = *m.record;
  const task_ending how = f.ending.load(std::memory_order_relaxed);
  bool ends = false;
  lock_.lock();
  members::erase(m);
  m.entered = false;
  const bool first = !cancelled_.load(std::memory_order_relaxed);
  if (how == task_ending::error) {
    retain(f);
    f.error_seen.store(true, std::memory_order_relaxed);
    failed_.push_back(m);
    ends = first && rule_ == rule::first_error_ends;
  } else if (how == task_ending::value && rule_ == rule::first_value_ends && winner_ == nullptr) {
    retain(f);
    winner_ = &f;
    ends = first;
  }
  lock_.unlock();
  if (ends) {
    cancel();
    if (body_ != nullptr) request_of(*body_);
  }
  leave();
}

// --- cancelling ---

void nursery::cancel() noexcept {
  ready_list woken;
  lock_.lock();
  cancelled_.store(true, std::memory_order_seq_cst);
  while (waiter* w = spawners_.claim_first()) {
    ++alive_;  // a place, which it gives up when it sees why
    woken.push(*w);
  }
  lock_.unlock();
  while (waiter* w = woken.pop()) wake(*w);
  cancel_members();
}

// Each once, and none of them under the lock: a request may be a system call.
void nursery::cancel_members() noexcept {
  for (;;) {
    lock_.lock();
    group_member* const m = living_.pop_front();
    fiber_record* const f = m != nullptr ? m->record : nullptr;
    if (m != nullptr) {
      asked_.push_back(*m);
      retain(*f);
    }
    lock_.unlock();
    if (f == nullptr) return;
    sched::cancel(*f, {});
    release(*f);
  }
}

// --- the end ---

bool nursery::join(bool cancellable) noexcept {
  bool struck = false;
  for (;;) {
    lock_.lock();
    if (alive_ == 0) {
      joined_ = true;
      lock_.unlock();
      return struck;
    }
    wait_node node;
    const outcome how =
        wait_in(joiners_, lock_, node, {wait_kind::group, 0, cancellable && !struck}, never);
    if (how != outcome::cancelled) continue;
    struck = true;
    cancel();
  }
}

void nursery::throw_pending() { throw_cancelled(*current_host().running); }

std::exception_ptr nursery::first_error() noexcept {
  group_member* const m = failed_.front();
  return m != nullptr ? error_of(*m->record) : nullptr;
}

std::vector<std::exception_ptr> nursery::errors() {
  std::vector<std::exception_ptr> all;
  for (group_member& m : failed_) all.push_back(error_of(*m.record));
  return all;
}

void nursery::report_errors(std::size_t but_first) noexcept {
  for (group_member& m : failed_) {
    if (but_first != 0) {
      --but_first;
      continue;
    }
    fiber_record& f = *m.record;
    report_error(*record_slab::of(f).store, error_of(f), f);
  }
}

}  // namespace coir::sched
