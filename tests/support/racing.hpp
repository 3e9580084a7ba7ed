// What stress and race tests need besides a runtime.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>

#include <coir/sched/runtime.hpp>

#include "asking.hpp"

namespace coir::testing {

// Stops the process with a dump of the runtime's fibers if `progress` stands still.
class watchdog {
 public:
  watchdog(runtime& r, const std::atomic<std::uint64_t>& progress)
      : thread_([this, &r, &progress] {
          std::unique_lock lock(mutex_);
          for (std::uint64_t last = ~0U;;) {
            if (changed_.wait_for(lock, sanitized ? 30s : 5s, [this] { return end_; })) return;
            if (progress == last) {
              std::fprintf(stderr, "no progress after %llu\n",
                           static_cast<unsigned long long>(last));
              r.dump(std::cerr);
              std::abort();
            }
            last = progress;
          }
        }) {}
  ~watchdog() {
    {
      std::lock_guard lock(mutex_);
      end_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  watchdog(const watchdog&) = delete;
  watchdog& operator=(const watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool end_ = false;  // under mutex_
  std::thread thread_;
};

// A race is one only if both sides win now and then.
inline void expect_both_win(const char* what, std::uint64_t first, std::uint64_t second,
                            const char* first_name = "the wake",
                            const char* second_name = "cancellation") {
  const std::uint64_t all = first + second;
  std::printf("%s: of %llu races %s won %llu and %s won %llu\n", what,
              static_cast<unsigned long long>(all), first_name,
              static_cast<unsigned long long>(first), second_name,
              static_cast<unsigned long long>(second));
  if (all < 1000) return;  // too few to say: a sanitizer, or a machine that is busy otherwise
  // A sanitizer's own time shifts who comes first.
  constexpr std::uint64_t at_least_one_of = sanitized ? 10'000 : 100;
  EXPECT_GE(first * at_least_one_of, all) << what;
  EXPECT_GE(second * at_least_one_of, all) << what;
}

// Small random numbers, one generator a fiber or thread.
class dice {
 public:
  explicit dice(std::uint32_t seed) : state_(seed * 2654435761U + 1) {}
  std::uint32_t operator()(std::uint32_t below) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return (state_ >> 3) % below;
  }
  // Some nanoseconds to microseconds without a call.
  void spin(std::uint32_t most) {
    for (std::uint32_t n = (*this)(most); n > 0; --n)
      std::atomic_signal_fence(std::memory_order_seq_cst);
  }

 private:
  std::uint32_t state_;
};

}  // namespace coir::testing
