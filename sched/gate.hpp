// The gate: what a worker owns and thieves may reach (queue, timers, inboxes) lies behind it.
//
// Always true: at most one of {the owner inside, one thief inside}. The owner enters and leaves
// without a locked instruction; a thief pays a membarrier for both. Proof in sched/README.md, "The
// gate".
#pragma once
#include <cstdint>

#include <coir/sched/spin_lock.hpp>

namespace coir::sched {

enum class break_in : std::uint8_t {
  entered,
  lost,  // the owner or another thief is inside: says nothing about what lies behind the gate
};

template <class Atomics = std_atomics>
class basic_gate {
 public:
  // Owner only; not recursive. On return no thief is inside, and what the last one did is seen.
  void enter() noexcept {
    inside_.store(1, std::memory_order_relaxed);
    Atomics::light_fence();  // pairs with heavy_fence in try_break_in: one of the two sees the
                             // other
    if (claimed_.load(std::memory_order_acquire) != 0) [[unlikely]]
      wait_outside();
  }

  // Owner only. Releases to the thief's acquire load of inside_.
  void leave() noexcept { inside_.store(0, std::memory_order_release); }

  // Any other thread. `patience`: how often it looks again while the owner is inside.
  break_in try_break_in(unsigned patience = 64) noexcept {
    if (!thieves_.try_lock()) return break_in::lost;
    claimed_.store(1, std::memory_order_relaxed);
    Atomics::heavy_fence();
    for (unsigned turn = 0; inside_.load(std::memory_order_acquire) != 0; ++turn) {
      if (turn == patience) {
        claimed_.store(0, std::memory_order_release);
        thieves_.unlock();
        return break_in::lost;
      }
      Atomics::pause(0);
    }
    return break_in::entered;
  }

  // The thief that entered. Releases to the owner's acquire load of claimed_.
  void break_out() noexcept {
    claimed_.store(0, std::memory_order_release);
    thieves_.unlock();
  }

 private:
  [[gnu::cold, gnu::noinline]] void wait_outside() noexcept {
    do {
      inside_.store(0, std::memory_order_release);  // the thief may be waiting for it
      for (unsigned turn = 0; claimed_.load(std::memory_order_acquire) != 0; ++turn)
        Atomics::pause(turn);
      inside_.store(1, std::memory_order_relaxed);
      Atomics::light_fence();
    } while (claimed_.load(std::memory_order_acquire) != 0);
  }

  typename Atomics::template atomic<std::uint32_t> inside_{0};  // written by the owner
  typename Atomics::template atomic<std::uint32_t> claimed_{
      0};  // written by the thief with the lock
  basic_spin_lock<Atomics> thieves_;
};

using gate = basic_gate<>;

}  // namespace coir::sched
