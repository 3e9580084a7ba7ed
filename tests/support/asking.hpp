// What tests ask of the system and of time, whichever fixture they use.
#pragma once
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include <coir/sched/this_fiber.hpp>

#include "fiber/sanitizers.hpp"

namespace coir::testing {

using namespace std::chrono_literals;

inline constexpr bool sanitized = fiber::sanitizers::address || fiber::sanitizers::thread;

inline std::size_t entries_of(const char* directory) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++n;
  return n;
}
inline std::size_t open_descriptors() { return entries_of("/proc/self/fd"); }

// On a plain thread. Looks again and again; false: not within the limit.
template <class Predicate>
bool eventually(Predicate&& holds, std::chrono::milliseconds limit = sanitized ? 30s : 10s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(100us);
  }
  return true;
}
// The same on a fiber, which lets others run.
template <class Predicate>
bool eventually_on_fiber(Predicate&& holds,
                         std::chrono::milliseconds limit = sanitized ? 30s : 10s) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    this_fiber::sleep_for(100us);
  }
  return true;
}

// A stress or race test multiplies its rounds by this.
inline unsigned scale() {
  const char* const text = std::getenv("COIR_TEST_SCALE");
  return text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 1;
}
// How long a stress runs: 2 s, or COIR_STRESS_SECONDS, times the scale.
inline std::chrono::milliseconds stress_time(std::chrono::milliseconds usual = 2s) {
  const char* const text = std::getenv("COIR_STRESS_SECONDS");
  return (text != nullptr ? std::chrono::milliseconds(std::atoi(text) * 1000) : usual) * scale();
}

}  // namespace coir::testing
