// What few fibers have. Made when first needed, kept with the record for its next fiber, so walkers
// may always look.
#pragma once
#include <string>

#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

struct fiber_extras {
  spin_lock lock;
  std::string name;         // under lock
  std::string reason;       // of the pending cancellation; under lock
  bool has_reason = false;  // under lock

  void clear() noexcept {
    lock.lock();
    name.clear();
    reason.clear();
    has_reason = false;
    lock.unlock();
  }
};

fiber_extras& extras_of(fiber_record&);  // may throw std::bad_alloc
std::string take_reason(
    fiber_record&);  // of the cancellation that is taken; empty if none was given
std::string name_of(const fiber_record&, std::size_t most = std::string::npos);

}  // namespace coir::sched
