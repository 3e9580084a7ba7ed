// A wait of a thread whose limit others may bring forward meanwhile.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>

#include <coir/sched/clock.hpp>

namespace coir::sched {

// Whoever brings the limit forward stores it, and then notifies while it holds the mutex. False:
// the limit came first.
template <class Done>
bool wait_within(const std::atomic<clock::time_point>& limit, std::condition_variable& changed,
                 std::unique_lock<std::mutex>& lock, Done done) {
  while (!done()) {
    const clock::time_point until = limit.load(std::memory_order_relaxed);
    if (until == never)
      changed.wait(lock);
    else if (changed.wait_until(lock, until) == std::cv_status::timeout)
      return done();
  }
  return true;
}

}  // namespace coir::sched
