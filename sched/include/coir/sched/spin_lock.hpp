// A lock for the few instructions that a primitive needs, which may be released on another stack
// than it was taken on (sched/README.md, "publish after the switch"). Never held over a system call
// or user code.
#pragma once
#include <cstdint>

#include <coir/sched/atomics.hpp>

namespace coir::sched {

template <class Atomics = std_atomics>
class basic_spin_lock {
 public:
  void lock() noexcept {
    if (taken_.exchange(1, std::memory_order_acquire) == 0) [[likely]]
      return;
    lock_contended();
  }
  bool try_lock() noexcept {
    return taken_.load(std::memory_order_relaxed) == 0 &&
           taken_.exchange(1, std::memory_order_acquire) == 0;
  }
  void unlock() noexcept { taken_.store(0, std::memory_order_release); }

 private:
  [[gnu::cold, gnu::noinline]] void lock_contended() noexcept {
    for (unsigned turn = 0;; ++turn) {
      while (taken_.load(std::memory_order_relaxed) != 0) Atomics::pause(turn++);
      if (taken_.exchange(1, std::memory_order_acquire) == 0) return;
    }
  }

  typename Atomics::template atomic<std::uint32_t> taken_{0};
};

using spin_lock = basic_spin_lock<>;

}  // namespace coir::sched
