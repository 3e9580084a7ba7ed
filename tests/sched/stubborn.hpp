// Runtimes that cannot end well: a fiber that ignores its cancellation.
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include <coir/sched/cancelled.hpp>
#include <coir/sched/options.hpp>
#include <coir/sched/this_fiber.hpp>

namespace coir::testing {

inline options with(unsigned workers) {
  options o;
  o.workers = workers;
  return o;
}

// What an abandoned fiber looks at outlives every test.
struct stubbornness {
  std::atomic<bool> begun{false}, enough{false};
};
inline stubbornness& new_stubbornness() {
  static auto& all = *new std::vector<std::unique_ptr<stubbornness>>;
  return *all.emplace_back(std::make_unique<stubbornness>());
}

// Ignores its cancellation until it has had enough.
inline void be_stubborn(stubbornness& s) {
  s.begun = true;
  while (!s.enough.load()) {
    try {
      this_fiber::sleep_for(std::chrono::milliseconds(1));
    } catch (const cancelled&) {
      // The next sleep throws at once: spare the processor.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

}  // namespace coir::testing
