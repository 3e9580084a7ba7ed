// A pending cancellation becomes an exception.
#pragma once
#include <coir/sched/cancelled.hpp>
#include <coir/sched/scope.hpp>

namespace coir::sched {

struct fiber_extras;

// By the fiber itself, but for pending_locked.
struct delivery {
  static cancelled take(fiber_record&);           // what may strike now
  static bool take_back(fiber_record&) noexcept;  // all but shutdown's; whether there was any
  static bool pending(fiber_record&) noexcept;    // also behind a shield
  static bool pending_locked(const fiber_record&, const fiber_extras&) noexcept;  // anybody
  static bool concerns(const cancelled&, const fiber_record&) noexcept;
  static bool strike_out(scope&, cancelled&) noexcept;

 private:
  static cancelled take_requests(fiber_record&);
};

}  // namespace coir::sched
