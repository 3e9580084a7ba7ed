// How many keep a fiber's result: the fiber until its end, its handles, and walkers for a moment.
//
// Always true: from its end on nobody gets a reference who has none. So who finds that one is left
// has it alone, and need not count it down.
#pragma once
#include <cstdint>

#include <coir/sched/atomics.hpp>

namespace coir::sched {

template <class Atomics = std_atomics>
class basic_reference_count {
 public:
  // A new fiber's: its own and its handle's. From now on walkers may take one.
  void begin() noexcept { word_.store(2, std::memory_order_release); }

  // By who has one.
  void retain() noexcept { word_.fetch_add(1, std::memory_order_relaxed); }
  // By a walker. False: the fiber has ended, or has never begun.
  bool retain_before_end() noexcept {
    std::uint32_t now = word_.load(std::memory_order_relaxed);
    while (now != 0 && (now & ended) == 0)
      if (word_.compare_exchange_weak(now, now + 1, std::memory_order_acquire,
                                      std::memory_order_relaxed))
        return true;
    return false;
  }

  // Gives one up. True: it was the last, and everything that others did before theirs is seen.
  bool release() noexcept {
    if (only_one()) return true;
    return (word_.fetch_sub(1, std::memory_order_acq_rel) & ~ended) == 1;
  }
  // The fiber's own, at its end; once.
  bool release_at_end() noexcept {
    return word_.fetch_add(ended - 1, std::memory_order_acq_rel) == 1;
  }

  bool only_one() const noexcept { return word_.load(std::memory_order_acquire) == (ended | 1); }

 private:
  static constexpr std::uint32_t ended = std::uint32_t{1} << 31;

  typename Atomics::template atomic<std::uint32_t> word_{0};
};

using reference_count = basic_reference_count<>;

}  // namespace coir::sched
