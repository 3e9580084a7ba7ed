// A meeting of a number of parties, again and again.
#pragma once
#include <chrono>
#include <cstddef>
#include <limits>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

// A barrier was aborted, or reset while the caller waited at it.
struct broken_barrier : std::runtime_error {
  broken_barrier() : std::runtime_error("coir: the barrier is broken") {}
};

namespace sched {

class barrier_core {
 public:
  using completion = void (*)(void*);
  barrier_core(std::ptrdiff_t parties, completion, void* of);  // throws std::invalid_argument
  ~barrier_core();

  struct arrival {
    std::uint64_t phase;
  };
  arrival arrive(std::ptrdiff_t n, bool drop);
  bool wait(arrival, clock::time_point deadline);
  std::optional<std::size_t> arrive_and_wait(clock::time_point deadline);
  void reset() noexcept;
  void abort() noexcept;
  bool broken() noexcept;
  std::ptrdiff_t parties() noexcept;
  std::size_t waiting() noexcept;

 private:
  struct visitor;

  void take_back_cancelled_locked(ready_list&) noexcept;
  bool full_locked(ready_list&) noexcept;
  std::size_t release_locked(ready_list&) noexcept;
  void complete(ready_list& released);
  std::size_t end_phase();
  void unblock_locked(ready_list&) noexcept;
  void break_draining_locked() noexcept;
  void break_waiting_locked(ready_list&) noexcept;
  void abort_locked(ready_list&) noexcept;
  bool until_completed(clock::time_point deadline);
  std::optional<std::size_t> leave(visitor&, outcome);

  spin_lock lock_;
  const completion complete_;  // null: none
  void* const of_;
  std::ptrdiff_t parties_;  // of the phases to come; under lock_, like all that follows
  std::ptrdiff_t pending_;  // arrivals that this phase still wants
  std::uint64_t phase_ = 0;
  bool broken_ = false;
  bool last_was_broken_ = false;  // the phase before this one
  bool completing_ = false;       // somebody runs the completion of the phase before this one
  wait_queue waiting_;            // for the end of this phase
  wait_queue blocked_;            // for the end of the completion
  wait_queue draining_;           // released or broken, and not yet out
};

struct no_completion {
  void operator()() const noexcept {}
};

}  // namespace sched

// As std::barrier, for fibers and threads in any mix, with what asyncio's has. The last to arrive
// runs the completion, and then all are released; if it throws, the barrier breaks, as in Python.
//
// Waiting is a blocking call: cancellation strikes there, and a waiter that is cancelled, or that
// gives up, takes its arrival back. abort() breaks the barrier: who waits, who has been released
// but has not yet gone on, and who arrives from then on gets coir::broken_barrier, until reset().
// reset() throws it at those who wait, but while the released of a phase have not all gone on, at
// those, and not at who came for the next. More arrivals than there are parties, by arrive(n), stop
// the process with a message.
template <class Completion = sched::no_completion>
class barrier {
 public:
  // An arrival, to wait for its phase later.
  class arrival_token {
   public:
    arrival_token(arrival_token&&) noexcept = default;
    arrival_token& operator=(arrival_token&&) noexcept = default;

   private:
    friend class barrier;
    explicit arrival_token(sched::barrier_core::arrival a) noexcept : arrived(a) {}
    sched::barrier_core::arrival arrived;
  };

  // Throws std::invalid_argument for less than one party.
  explicit barrier(std::ptrdiff_t parties, Completion c = Completion())
      : complete_(std::move(c)), core_(parties, function(), &complete_) {}
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;

  static constexpr std::ptrdiff_t max() noexcept {
    return std::numeric_limits<std::ptrdiff_t>::max();
  }

  // Does not wait, and is not cancelled: n arrivals without anybody who waits. broken_barrier.
  [[nodiscard]] arrival_token arrive(std::ptrdiff_t n = 1) {
    return arrival_token(core_.arrive(n, false));
  }
  void arrive_and_drop() { core_.arrive(1, true); }  // and one party less from the next phase on

  // For the end of the phase in which the token was given. Cancelled, the arrival stays.
  void wait(arrival_token&& t) { core_.wait(t.arrived, sched::never); }
  template <class Rep, class Period>
  bool wait_for(const arrival_token& t, std::chrono::duration<Rep, Period> d) {
    return core_.wait(t.arrived, sched::deadline_after(d));
  }
  template <class Duration>
  bool wait_until(const arrival_token& t,
                  std::chrono::time_point<std::chrono::steady_clock, Duration> at) {
    return core_.wait(t.arrived, sched::deadline_at(at));
  }

  // The index, from 0, of the caller among those who were released together.
  std::size_t arrive_and_wait() { return *core_.arrive_and_wait(sched::never); }
  template <class Rep, class Period>
  std::optional<std::size_t> arrive_and_wait_for(std::chrono::duration<Rep, Period> d) {
    return core_.arrive_and_wait(sched::deadline_after(d));  // none: too late, taken back
  }
  template <class Duration>
  std::optional<std::size_t> arrive_and_wait_until(
      std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    return core_.arrive_and_wait(sched::deadline_at(t));
  }

  void reset() noexcept { core_.reset(); }  // empty, and whole again
  void abort() noexcept { core_.abort(); }
  bool broken() const noexcept { return core_.broken(); }
  std::ptrdiff_t parties() const noexcept { return core_.parties(); }
  std::size_t waiting() const noexcept { return core_.waiting(); }  // in this phase

 private:
  static constexpr sched::barrier_core::completion function() noexcept {
    if constexpr (std::is_same_v<Completion, sched::no_completion>)
      return nullptr;
    else
      return [](void* c) { (*static_cast<Completion*>(c))(); };
  }

  Completion complete_;
  mutable sched::barrier_core core_;
};

}  // namespace coir
