#include "fake_driver.hpp"

#include <cerrno>

#include <coir/sched/cancellation.hpp>

#include "sched/futex.hpp"

namespace coir::testing {

class fake_factory final : public sched::driver_factory {
 public:
  explicit fake_factory(fake_io& device) noexcept : device_(device) {}
  std::unique_ptr<sched::driver> make() override {
    return std::make_unique<fake_driver>(device_, made_++);
  }
  const char* name() const noexcept override { return "fake"; }
  const char* reason() const noexcept override { return "a test scripts it"; }

 private:
  fake_io& device_;
  unsigned made_ = 0;
};

std::unique_ptr<sched::driver_factory> fake_io::drivers() {
  return std::make_unique<fake_factory>(*this);
}

// --- operations

fake_io::ended fake_io::operate(int key, clock::time_point deadline,
                                const std::function<void()>& before_park) {
  sched::host& here = sched::current_host();
  sched::waiter& me = *here.running;
  sched::cancellation_point(me);
  started op;
  op.key = key;
  op.who = &me;
  op.on = static_cast<fake_driver*>(here.io);
  op.on->in_flight_.fetch_add(1, std::memory_order_relaxed);
  me.waits_for_id.store(static_cast<std::uint64_t>(key), std::memory_order_relaxed);
  me.waits_for.store(sched::wait_kind::read, std::memory_order_relaxed);
  const ended how = contract_ == sched::completion_contract::home
                        ? operate_at_home(me, op, deadline, before_park)
                        : operate_roaming(me, op, deadline, before_park);
  me.waits_for.store(sched::wait_kind::nothing, std::memory_order_relaxed);
  if (how.stopped_by == sched::operation::stop::cancellation && how.result == -ECANCELED)
    sched::throw_cancelled(me);
  if (how.stopped_by == sched::operation::stop::deadline && how.result == -ECANCELED)
    return {-ETIMEDOUT, how.stopped_by};
  return how;
}

fake_io::ended fake_io::operate_at_home(sched::waiter& me, started& op, clock::time_point deadline,
                                        const std::function<void()>& before_park) {
  op.generation = me.claim.begin(sched::outcome::operating, sched::may_be_cancelled(me));
  lock_.lock();
  in_flight_.push_back(op);
  lock_.unlock();
  if (before_park) before_park();
  sched::current_host().park_operation(me, op, deadline);
  me.claim.finish();
  return {op.result, op.stopped_by};
}

fake_io::ended fake_io::operate_roaming(sched::waiter& me, started& op, clock::time_point deadline,
                                        const std::function<void()>& before_park) {
  op.generation = me.claim.begin(sched::outcome::waiting, sched::may_be_cancelled(me));
  if (before_park) before_park();
  lock_.lock();
  in_flight_.push_back(op);
  sched::current_host().park(me,
                             {[](void* held, void*) noexcept -> sched::waiter* {
                                static_cast<sched::spin_lock*>(held)->unlock();
                                return nullptr;
                              },
                              &lock_, nullptr},
                             deadline);
  const sched::outcome how = me.claim.finish();
  if (how == sched::outcome::granted) return {op.result, op.stopped_by};
  lock_.lock();
  if (op.linked()) in_flight_.erase(op);
  lock_.unlock();
  op.on->in_flight_.fetch_sub(1, std::memory_order_relaxed);
  return {-ECANCELED, how == sched::outcome::cancelled ? sched::operation::stop::cancellation
                                                       : sched::operation::stop::deadline};
}

// --- the script

fake_io::started* fake_io::find_locked(int key) noexcept {
  for (started& op : in_flight_)
    if (op.key == key) return &op;
  return nullptr;
}

// Home: the owner's next poll delivers it.
void fake_io::finish_locked(started& op, int result) noexcept {
  in_flight_.erase(op);
  op.result = result;
  op.on->completed_.push_back(op);
}

bool fake_io::complete(int key, int result) { return complete_together({{key, result}}); }

bool fake_io::complete_together(std::initializer_list<std::pair<int, int>> script) {
  bool all = true;
  fake_driver* owner = nullptr;
  sched::ready_list claimed;
  lock_.lock();
  for (const auto& [key, result] : script) {
    started* const op = find_locked(key);
    if (op == nullptr) {
      all = false;
    } else if (contract_ == sched::completion_contract::home) {
      owner = op->on;
      finish_locked(*op, result);
    } else {
      in_flight_.erase(*op);
      if (!op->who->claim.claim(op->generation, sched::outcome::granted)) {
        all = false;
        continue;
      }
      op->result = result;
      op->on->in_flight_.fetch_sub(1, std::memory_order_relaxed);
      claimed.push(*op->who);
    }
  }
  lock_.unlock();
  if (owner != nullptr) owner->interrupt();
  while (sched::waiter* w = claimed.pop()) sched::wake(*w);
  return all;
}

bool fake_io::in_flight(int key) {
  lock_.lock();
  const bool found = find_locked(key) != nullptr;
  lock_.unlock();
  return found;
}

bool fake_io::stop_was_asked(int key) {
  lock_.lock();
  const started* const op = find_locked(key);
  const bool asked = op != nullptr && op->asked_to_stop;
  lock_.unlock();
  return asked;
}

unsigned fake_io::started_on(int key) {
  lock_.lock();
  const started* const op = find_locked(key);
  const unsigned number = op != nullptr ? op->on->number_ : ~0U;
  lock_.unlock();
  return number;
}

sched::waiter* fake_io::waiter_of(int key, sched::wait_generation& generation) {
  lock_.lock();
  const started* const op = find_locked(key);
  if (op != nullptr) generation = op->generation;
  sched::waiter* const who = op != nullptr ? op->who : nullptr;
  lock_.unlock();
  return who;
}

// --- the driver

fake_driver::~fake_driver() {
  if (busy()) device_.misuses.fetch_add(1);
}

void fake_driver::check_thread() noexcept {
  if (std::this_thread::get_id() != owner_) device_.misuses.fetch_add(1);
}

void fake_driver::attach() { owner_ = std::this_thread::get_id(); }

void fake_driver::detach() noexcept {
  check_thread();
  if (busy()) device_.misuses.fetch_add(1);
}

void fake_driver::poll(sched::ready_list& ready) noexcept {
  check_thread();
  device_.polls.fetch_add(1, std::memory_order_relaxed);
  device_.lock_.lock();
  while (!completed_.empty()) {
    fake_io::started& op = *completed_.front();
    completed_.erase(op);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    sched::waiter& who = *op.who;
    who.claim.complete();
    ready.push(who);
  }
  device_.lock_.unlock();
}

void fake_driver::wait(clock::time_point deadline, sched::ready_list& ready) noexcept {
  if (interrupted_.load(std::memory_order_relaxed) == 0)
    sched::futex_wait(interrupted_, 0, deadline);
  interrupted_.exchange(0, std::memory_order_acquire);
  poll(ready);
}

void fake_driver::interrupt() noexcept {
  if (interrupted_.exchange(1, std::memory_order_release) == 0) sched::futex_wake(interrupted_, 1);
}

void fake_driver::stop(sched::operation& which) noexcept {
  check_thread();
  device_.stops.fetch_add(1);
  auto& op = static_cast<fake_io::started&>(which);
  device_.lock_.lock();
  op.asked_to_stop = true;
  if (device_.find_locked(op.key) == &op) {
    switch (device_.when_stopped.load()) {
      case on_stop::cancels:
        device_.finish_locked(op, -ECANCELED);
        break;
      case on_stop::holds:
        break;
      case on_stop::loses:
        device_.finish_locked(op, fake_io::lost_result);
        break;
    }
  }
  device_.lock_.unlock();
}

}  // namespace coir::testing
