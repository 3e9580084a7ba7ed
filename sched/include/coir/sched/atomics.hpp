// The atomics policy of the library's private lock-free types: std's here, the interleaving
// explorer's in models.
#pragma once
#include <atomic>

namespace coir::sched {

// Asymmetric fences: the frequent side pays a compiler barrier, the rare side makes every running
// thread of the process execute a full fence (membarrier(2), PRIVATE_EXPEDITED, Linux 4.14). Where
// membarrier is refused, both sides are full fences: same protocol, same tests.
extern bool asymmetric_fences;             // written before the first worker starts, never after
void enable_asymmetric_fences() noexcept;  // registers the process; any thread, any number of times
void membarrier_all_threads() noexcept;    // only if asymmetric_fences

struct std_atomics {
  template <class T>
  using atomic = std::atomic<T>;
  template <class T>
  using plain = T;  // data that a protocol protects; the explorer's is watched for races

  static void fence() noexcept { std::atomic_thread_fence(std::memory_order_seq_cst); }
  static void light_fence() noexcept {
    if (asymmetric_fences) [[likely]]
      std::atomic_signal_fence(std::memory_order_seq_cst);
    else
      fence();
  }
  static void heavy_fence() noexcept {
    if (asymmetric_fences) [[likely]]
      membarrier_all_threads();
    else
      fence();
  }
  // One turn of a spin loop whose condition another thread must change. After `patience` turns the
  // processor is given away, because the other thread may need it.
  static void pause(unsigned turn) noexcept;
};

}  // namespace coir::sched
