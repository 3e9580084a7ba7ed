// The seam between scheduling and I/O: a driver waits for the outside world on behalf of one worker
// and returns the waiters that became ready. It never schedules and never calls user code.
#pragma once
#include <cstdint>
#include <memory>

#include <coir/sched/clock.hpp>
#include <coir/sched/waiter.hpp>

namespace coir {
class reactor;  // io's: a driver that can start operations
}

namespace coir::sched {

// Who may report that an operation has ended, and so how its waiter parks.
enum class completion_contract : std::uint8_t {
  home,     // only the thread that owns the driver: park_operation, and no claim is raced for
            // (io_uring, one-shot)
  roaming,  // any thread: the wait is claimed like any other (epoll, IOCP, every multishot)
};

// An operation in flight under the home contract. It lies on the stack of the fiber that waits for
// it; its completion is its only end, so it stays valid until then, cancelled or not.
struct operation {
  waiter* who = nullptr;
  std::int32_t result = 0;  // the kernel's: negative errno
  std::uint32_t flags = 0;
  // Why a cancellation was asked for, if one was; written by the owner of the driver. granted: none
  // was.
  enum class stop : std::uint8_t { none, deadline, cancellation, closed } stopped_by = stop::none;
};

// Sends without a copy, of one driver or of all: parts that went out, those of them that the
// kernel copied after all, and those that it would not send so, which went out as a copy.
struct zero_copy_counts {
  std::uint64_t sends = 0, copied = 0, refused = 0;
};

class driver {
 public:
  virtual ~driver() = default;
  driver() = default;
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;

  virtual completion_contract contract() const noexcept = 0;

  // On the thread that will use it, before its first poll. Throws std::system_error with the
  // kernel's errno.
  virtual void attach() = 0;
  // On that thread, when no operation is in flight and no sender is left.
  virtual void detach() noexcept = 0;

  // Owner. Hands to the kernel what was started, takes what has completed; never blocks.
  virtual void poll(ready_list& ready) noexcept = 0;
  // Owner. The same, but blocks until something completes, somebody interrupts, or the deadline has
  // come; may return early with nothing. An interrupt made at any time after the previous return
  // ends it.
  virtual void wait(clock::time_point deadline, ready_list& ready) noexcept = 0;
  // Any thread: the current wait, or else the next, returns.
  virtual void interrupt() noexcept = 0;

  // Owner. Something was started and has not completed, so that polling can pay.
  virtual bool busy() const noexcept = 0;
  virtual std::size_t in_flight() const noexcept {
    return 0;
  }  // owner; operations, for the metrics
  virtual zero_copy_counts zero_copies() const noexcept { return {}; }  // any thread

  // Owner, home contract: asks the kernel to end an operation early. Its completion follows all the
  // same, perhaps with its result. Cannot fail: a full queue is submitted first.
  virtual void stop(operation&) noexcept {}

  virtual reactor* as_reactor() noexcept { return nullptr; }
};

// Makes the drivers of a runtime; called once for each worker, on the thread that constructs the
// runtime.
class driver_factory {
 public:
  virtual ~driver_factory() = default;
  // Before the first make(): how many it will be asked for. The workers of a runtime have drivers
  // of one kind, so what can run out is asked for here, while another kind can still be taken.
  // Throws what make() throws.
  virtual void prepare(unsigned /*workers*/) {}
  virtual std::unique_ptr<driver> make() = 0;
  virtual const char* name() const noexcept = 0;  // "uring", "epoll", ...: runtime_metrics::reactor
  virtual const char* reason() const noexcept = 0;  // why this one: runtime_metrics::reactor_reason
};

}  // namespace coir::sched
