// The runtime's own queue: what foreign threads make ready, and fibers that wait for a stack. One
// lock, rarely taken.
#pragma once
#include <atomic>
#include <cstddef>

#include <coir/sched/spin_lock.hpp>

#include "run_queue.hpp"

namespace coir::sched {

class injector {
 public:
  void push(fiber_record& f) noexcept {
    lock_.lock();
    queue_.push(f);
    size_.store(queue_.size(), std::memory_order_relaxed);
    lock_.unlock();
    std_atomics::fence();  // the pusher then looks for sleepers: sched/README.md, "Falling asleep"
  }

  fiber_record* pop() noexcept {
    if (empty()) return nullptr;
    lock_.lock();
    fiber_record* f = queue_.pop();
    size_.store(queue_.size(), std::memory_order_relaxed);
    lock_.unlock();
    return f;
  }

  // One lock for several: hands up to `most` to `take`.
  template <class Take>
  std::size_t take(std::size_t most, Take&& take) noexcept {
    if (empty()) return 0;
    lock_.lock();
    std::size_t taken = 0;
    while (taken < most) {
      fiber_record* f = queue_.pop();
      if (f == nullptr) break;
      take(*f);
      ++taken;
    }
    size_.store(queue_.size(), std::memory_order_relaxed);
    lock_.unlock();
    return taken;
  }

  bool empty() const noexcept { return size() == 0; }
  std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }

 private:
  spin_lock lock_;
  run_queue queue_;                   // under lock_
  std::atomic<std::size_t> size_{0};  // written under lock_, read by anybody
};

}  // namespace coir::sched
