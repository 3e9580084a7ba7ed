// Claim once: wake, timeout and cancellation race for a wait by one compare-exchange; losers do
// nothing.
//
// The word is a generation and a state. Only the waiter begins a wait, and each wait has a new
// generation, so a claimer that arrives late (a timer of an earlier wait, a request that was
// forwarded) names a generation that is gone and loses. The word lives as long as its runtime, so a
// late claimer may always look.
#pragma once
#include <cstdint>

#include <coir/sched/atomics.hpp>

namespace coir::sched {

enum class outcome : std::uint8_t {
  running = 0,    // not waiting; the outcome of the last wait has been read
  waiting = 1,    // whoever claims it first decides
  operating = 2,  // in an operation that only the owner of its ring completes: nobody may claim it
  granted = 3,
  timed_out = 4,
  cancelled = 5,
};

using wait_generation = std::uint64_t;

template <class Atomics = std_atomics>
class basic_claim_word {
 public:
  // Waiter only, while running. What publishes the wait (a lock released after the switch, a timer
  // behind the gate) also publishes this; the release is for a canceller that looks at the word
  // without either, and that must then also see that the waiter has taken its last cancellation.
  wait_generation begin(outcome kind = outcome::waiting, bool cancellable = true) noexcept {
    const std::uint64_t next = (word_.load(std::memory_order_relaxed) >> state_bits) + 1;
    word_.store(
        next << state_bits | (cancellable ? cancellable_bit : 0) | static_cast<std::uint64_t>(kind),
        std::memory_order_release);
    return next;
  }

  // Anybody. True for exactly one claimer of a generation; that one then owns the waiter until it
  // is made ready. Acquires what the waiter did before it began; releases what the claimer gave, to
  // result(). A wait that is not cancellable cannot be claimed as cancelled.
  bool claim(wait_generation which, outcome how) noexcept {
    const std::uint64_t open = which << state_bits | static_cast<std::uint64_t>(outcome::waiting);
    std::uint64_t now = word_.load(std::memory_order_relaxed);
    if (how == outcome::cancelled ? now != (open | cancellable_bit)
                                  : (now & ~cancellable_bit) != open)
      return false;
    return word_.compare_exchange_strong(now, which << state_bits | static_cast<std::uint64_t>(how),
                                         std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  // The same for a wait that is claimed from behind one gate alone, which the caller holds: there
  // is no race, and no locked instruction.
  bool claim_locked(wait_generation which, outcome how) noexcept {
    const std::uint64_t open = which << state_bits | static_cast<std::uint64_t>(outcome::waiting);
    if ((word_.load(std::memory_order_relaxed) & ~cancellable_bit) != open) return false;
    word_.store(which << state_bits | static_cast<std::uint64_t>(how), std::memory_order_release);
    return true;
  }

  // The owner of a ring, for a waiter in an operation: its completion is the only end, so there is
  // no race.
  void complete() noexcept {
    word_.store(generation() << state_bits | static_cast<std::uint64_t>(outcome::granted),
                std::memory_order_release);
  }

  // Waiter only, after its wait was claimed: how. The waiter is running again.
  outcome finish() noexcept {
    const std::uint64_t now = word_.load(std::memory_order_acquire);
    word_.store(now >> state_bits << state_bits, std::memory_order_relaxed);
    return static_cast<outcome>(now & state_mask);
  }

  // Anybody; a snapshot.
  outcome state() const noexcept {
    return static_cast<outcome>(word_.load(std::memory_order_acquire) & state_mask);
  }
  wait_generation generation() const noexcept {
    return word_.load(std::memory_order_relaxed) >> state_bits;
  }
  struct snapshot {
    wait_generation generation;
    outcome state;
    bool cancellable;
  };
  snapshot look() const noexcept {
    const std::uint64_t now = word_.load(std::memory_order_acquire);
    return {now >> state_bits, static_cast<outcome>(now & state_mask),
            (now & cancellable_bit) != 0};
  }

 private:
  static constexpr std::uint64_t state_mask = 7, cancellable_bit = 8;
  static constexpr unsigned state_bits = 4;

  typename Atomics::template atomic<std::uint64_t> word_{0};
};

using claim_word = basic_claim_word<>;

}  // namespace coir::sched
