// What few fibers have. Made when first needed, kept with the record for its next fiber, so walkers
// may always look.
#pragma once
#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <coir/sched/fiber_record.hpp>
#include <coir/sched/fiber_storage.hpp>
#include <coir/sched/scope.hpp>

#include "alarm.hpp"

namespace coir::sched {

// What runs when a task ends. Linked from the record's extras, under its join_lock.
struct end_callback {
  end_callback* next = nullptr;
  std::uint64_t id = 0;
  std::function<void()> call;
};

struct fiber_extras {
  explicit fiber_extras(fiber_record& f) noexcept : timeouts(f) {}

  spin_lock lock;
  std::string name;                      // under lock
  std::string reason;                    // of the pending cancellation; under lock
  bool has_reason = false;               // under lock
  std::optional<std::stop_source> stop;  // of this_fiber::stop_token(); under lock

  std::atomic<std::size_t> stack_used{0};  // at its last park, where stacks are measured; bytes

  scope* innermost = nullptr;    // written by the fiber, under lock
  std::uint64_t deliveries = 0;  // exceptions that were thrown for a scope; the fiber's own

  // Strikes at the earliest deadline of the open timeouts. Set under lock.
  struct timeout_alarm : alarm {
    explicit timeout_alarm(fiber_record& f) noexcept;
    fiber_record& of;
    std::atomic<clock::rep> due{never.time_since_epoch().count()};  // written under lock
  } timeouts;

  end_callback* callbacks = nullptr;  // under the record's join_lock
  bool telling = false;               // the same: it is done, and its callbacks are being called
  std::uint64_t last_callback = 0;    // the same

  fiber_storage storage;  // the fiber's own

  void clear() noexcept;
};

fiber_extras& extras_of(fiber_record&);                      // may throw std::bad_alloc
void note_reason(fiber_record&, std::string_view) noexcept;  // the first one stays
std::string take_reason(
    fiber_record&);  // of the cancellation that is taken; empty if none was given
std::string reason_of(const fiber_record&) noexcept;  // which stays
std::string name_of(const fiber_record&, std::size_t most = std::string::npos);

// Stops the token that the fiber has given out, if it has and a request is pending: else the fiber
// has taken the request, and a token that it has given out since is for the next one. Runs
// callbacks of users: not on a worker's loop.
void request_stop(fiber_record&) noexcept;
void stop_given_token(fiber_record&) noexcept;  // by the fiber that takes a request

// Takes the alarm of an ended fiber out of its heap.
void forget_timeouts(fiber_record&) noexcept;

// Marks the timeouts that are due at `now`; what a blocking call does that finds `timed`.
void expire_timeouts(fiber_record&, clock::time_point now) noexcept;

}  // namespace coir::sched
