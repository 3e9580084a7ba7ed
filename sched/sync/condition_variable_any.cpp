#include <coir/sched/fiber_record.hpp>
#include <coir/sync/condition_variable_any.hpp>

#include "../fatal.hpp"
#include "../fiber_of.hpp"

namespace coir {

namespace sched {

void any_condition::enrol(wait_node& n) noexcept {
  lock_.lock();
  waiters_.push(n);
  lock_.unlock();
}

bool any_condition::withdraw(wait_node& n) noexcept {
  lock_.lock();
  const bool notified = n.amount != 0;
  if (!notified) waiters_.erase(n);
  lock_.unlock();
  return notified;
}

outcome any_condition::wait(wait_node& n, clock::time_point deadline) {
  if (deadline != never) {
    try {
      current_host().make_room_for_deadline();
    } catch (...) {
      if (withdraw(n)) notify_one();
      throw;
    }
  }
  lock_.lock();
  if (n.amount != 0) return lock_.unlock(), outcome::granted;
  const outcome how = wait_linked(lock_, n, {wait_kind::condition}, deadline);
  if (how != outcome::granted && waiters_.leave(n, lock_)) lock_.unlock();
  return how;
}

void any_condition::notify(bool one) noexcept {
  ready_list woken;
  lock_.lock();
  for (wait_node *n = waiters_.front(), *next; n != nullptr; n = next) {
    next = waiters_.after(*n);
    if (n->who == nullptr) {
      n->amount = 1;
      waiters_.erase(*n);
    } else if (waiter* w = waiters_.claim(*n)) {
      woken.push(*w);
    } else {
      continue;
    }
    if (one) break;
  }
  lock_.unlock();
  wake(woken);
}

bool any_condition::somebody_waits() noexcept {
  lock_.lock();
  bool found = false;
  for (wait_node* n = waiters_.front(); n != nullptr && !found; n = waiters_.after(*n))
    found = n->who == nullptr || n->who->claim.look().state == outcome::waiting;
  lock_.unlock();
  return found;
}

uncancelled::uncancelled() noexcept {
  if (fiber_record* f = running_fiber()) ++f->shields;
}

uncancelled::~uncancelled() {
  if (fiber_record* f = running_fiber()) --f->shields;
}

}  // namespace sched

condition_variable_any::~condition_variable_any() {
  if (core_->somebody_waits())
    sched::fatal("a condition_variable_any was destroyed while somebody waited for it");
}

}  // namespace coir
