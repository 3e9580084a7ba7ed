// What tests of the primitives share.
#pragma once
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <coir/sched/timeout.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {

// On a fiber: until the other one waits for something, or has ended.
template <class T>
void wait_until_parked(const task<T>& t) {
  while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
}

// On a fiber: a task that has begun, so a cancellation finds it running.
template <class F>
auto spawn_begun(F f) {
  auto begun = std::make_shared<std::atomic<bool>>(false);
  auto t = spawn([begun, f = std::move(f)]() mutable {
    *begun = true;
    return f();
  });
  while (!*begun) this_fiber::yield();
  return t;
}

// On a fiber that somebody cancels: the request is pending afterwards.
inline void until_cancel_is_pending() {
  shield([] {
    while (!this_fiber::cancel_requested()) this_fiber::yield();
  });
}

// Runs every function at once, half of them on fibers of `r`, half on plain threads.
inline void in_any_mix(runtime& r, const std::vector<std::function<void()>>& all) {
  std::vector<task<void>> fibers;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (i % 2 == 0)
      fibers.push_back(r.spawn(all[i]));
    else
      threads.emplace_back(all[i]);
  for (auto& t : fibers) t.get();
  for (auto& t : threads) t.join();
}

}  // namespace coir::testing
