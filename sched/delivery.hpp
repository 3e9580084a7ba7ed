// A pending cancellation becomes an exception.
#pragma once
#include <coir/sched/cancelled.hpp>
#include <coir/sched/scope.hpp>

namespace coir::sched {

// By the fiber itself, all of it.
struct delivery {
  static cancelled take(fiber_record&);           // what may strike now
  static bool take_back(fiber_record&) noexcept;  // all but shutdown's; whether there was any
  static bool pending(fiber_record&) noexcept;    // also behind a shield
  static bool concerns(const cancelled&, const fiber_record&) noexcept;
  static bool strike_out(scope&, cancelled&) noexcept;
};

}  // namespace coir::sched
