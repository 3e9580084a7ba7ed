// Alarms whose deadline has come, and for whose next one there was no memory: they strike again a
// little later. Until then they are claimed, so nobody else sets them.
#pragma once
#include <atomic>
#include <utility>

#include <coir/sched/spin_lock.hpp>
#include <coir/sched/waiter.hpp>

namespace coir::sched {

class late_alarms_list {
 public:
  bool empty() const noexcept { return !some_.load(std::memory_order_relaxed); }  // a hint
  void add(waiter& a) noexcept {
    lock_.lock();
    waiting_.push(a);
    some_.store(true, std::memory_order_relaxed);
    lock_.unlock();
  }
  ready_list take() noexcept {
    lock_.lock();
    some_.store(false, std::memory_order_relaxed);
    const ready_list all = std::exchange(waiting_, {});
    lock_.unlock();
    return all;
  }

 private:
  spin_lock lock_;
  ready_list waiting_;  // under lock_
  std::atomic<bool> some_{false};
};

}  // namespace coir::sched
