// Signals of the process, from the handler to those who want to know of them.
//
// The handler counts and rings; one thread, which lives as long as somebody wants signals, takes
// the counts and tells the subscribers. That thread has the wanted signals unblocked, so that they
// arrive also where every other thread blocks them. Always true: a signal has our handler exactly
// while it is in the mask of a subscriber.
#pragma once
#include <cstdint>

namespace coir::sched {

struct fiber_record;

// A set of signals, as bits: signal n is bit n - 1.
using signal_mask = std::uint64_t;
constexpr signal_mask bit_of(int signal) noexcept { return signal_mask{1} << (signal - 1); }

class signal_subscriber {
 public:
  // On the hub's thread, under its lock, once for one or more arrivals of a signal of the mask.
  virtual void arrived(int signal, std::uint32_t times) noexcept = 0;
  // After that, under the lock as well: a fiber to be cancelled without it, because others' stop
  // callbacks run there; with a reference. Null: none.
  virtual fiber_record* to_cancel() noexcept { return nullptr; }

  signal_mask mask = 0;
  signal_subscriber* next = nullptr;  // the hub's

 protected:
  signal_subscriber() = default;
  signal_subscriber(const signal_subscriber&) = delete;
  signal_subscriber& operator=(const signal_subscriber&) = delete;
  ~signal_subscriber() = default;
};

// Any thread. Throws std::invalid_argument for a signal that cannot be waited for,
// std::system_error if there can be no thread.
void subscribe(signal_subscriber&, signal_mask);
// When it returns, arrived() is called no more. The last one restores each disposition.
void unsubscribe(signal_subscriber&) noexcept;

// Nothing of what it calls runs meanwhile.
class signal_hub_lock {
 public:
  signal_hub_lock() noexcept;
  ~signal_hub_lock();
  signal_hub_lock(const signal_hub_lock&) = delete;
  signal_hub_lock& operator=(const signal_hub_lock&) = delete;
};

}  // namespace coir::sched
