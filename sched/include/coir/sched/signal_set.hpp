// Waiting for signals of the process, as asyncio's add_signal_handler.
#pragma once
#include <chrono>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>

#include <coir/sched/clock.hpp>

namespace coir {

// While one lives, its signals do not do what they do otherwise: each comes to every set that has
// it, where it stays until somebody takes it; more of the same meanwhile are one. The last set to
// go restores the disposition. Move-only; members but the destructor: any fibers and threads, at
// once.
class signal_set {
 public:
  // Throws std::invalid_argument for what cannot be waited for: SIGKILL, SIGSTOP, the signals of
  // faults, numbers that are no signal; std::system_error if there can be no thread. Any thread.
  signal_set(std::initializer_list<int> signals)
      : signal_set(std::span<const int>(signals.begin(), signals.size())) {}
  explicit signal_set(std::span<const int> signals);
  signal_set(signal_set&&) noexcept;
  signal_set& operator=(signal_set&&) noexcept;
  ~signal_set();  // with waiters: stops the process with a message

  // Waits for a signal of the set, and takes it; of several, the lowest number. One of several
  // waiters gets it.
  int wait() { return *wait_before(sched::never); }
  template <class Rep, class Period>
  std::optional<int> wait_for(std::chrono::duration<Rep, Period> d) {
    return wait_before(sched::deadline_after(d));
  }
  template <class Duration>
  std::optional<int> wait_until(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return wait_before(sched::deadline_at(t));
  }
  std::optional<int> try_wait();  // one that has come; does not wait

 private:
  class state;
  std::optional<int> wait_before(clock::time_point deadline);

  std::unique_ptr<state> state_;
};

}  // namespace coir
