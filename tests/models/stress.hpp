// What the stress tests share: how long they run, who won how often, and randomness a thread.
#pragma once

#include <gtest/gtest.h>
#include <atomic>
#include <chrono>
#include <coir/sched/atomics.hpp>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace coir::sched::stress {

using steady = std::chrono::steady_clock;

// Two seconds a test program; COIR_STRESS_SECONDS says otherwise, COIR_TEST_SCALE multiplies.
inline std::chrono::duration<double> budget(int tests_in_program) {
  const char* seconds = std::getenv("COIR_STRESS_SECONDS");
  const char* scale = std::getenv("COIR_TEST_SCALE");
  const double whole = seconds != nullptr ? std::atof(seconds) : 2.0;
  return std::chrono::duration<double>(whole * (scale != nullptr ? std::atof(scale) : 1.0) /
                                       tests_in_program);
}

// A count that one thread makes and others may read; no fence that would hide a missing one.
class tally {
 public:
  void operator+=(std::uint64_t n) noexcept {
    count_.store(count_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void operator++() noexcept { *this += 1; }
  operator std::uint64_t() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> count_{0};
};

// How long a race runs: its budget, and where the processors are busy with something else, until
// each outcome has had its one in a hundred, but ten budgets at most.
class race_clock {
 public:
  explicit race_clock(int tests_in_program) : budget_(budget(tests_in_program)) {}
  bool goes_on(std::initializer_list<std::uint64_t> outcomes) const {
    const auto spent = steady::now() - start_;
    if (spent < budget_ || spent > 10 * budget_) return spent < budget_;
    std::uint64_t total = 0;
    for (std::uint64_t count : outcomes) total += count;
    for (std::uint64_t count : outcomes)
      if (count == 0 || count * 67 < total) return true;
    return false;
  }

 private:
  steady::time_point start_ = steady::now();
  std::chrono::duration<double> budget_;
};

constexpr std::chrono::seconds patience{10};  // for what should take microseconds

class random_source {
 public:
  explicit random_source(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  unsigned below(unsigned bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<unsigned>(state_ >> 33) % bound;
  }
  // Lets the others come to another point than last time.
  void dawdle(unsigned at_most) {
    for (unsigned turns = below(at_most + 1); turns > 0; --turns) std_atomics::pause(0);
  }
  // The same where there are fewer processors than threads: now and then, the others run here.
  void give_way(unsigned one_in) {
    if (below(one_in) == 0) std::this_thread::yield();
  }

 private:
  std::uint64_t state_;
};

// Prints how often each outcome won, and wants one in a hundred of each.
inline void each_happens(const char* test,
                         std::initializer_list<std::pair<const char*, std::uint64_t>> outcomes) {
  std::uint64_t total = 0;
  for (const auto& [name, count] : outcomes) total += count;
  for (const auto& [name, count] : outcomes) {
    const double share = 100.0 * static_cast<double>(count) / static_cast<double>(total);
    std::printf("[race] %s: %-24s %10llu  %5.2f %%\n", test, name,
                static_cast<unsigned long long>(count), share);
    EXPECT_GE(share, 1.0) << name;
  }
  std::fflush(stdout);
}

// A token that a sleeper waits for, as in a driver. False: nobody has signalled for far too long.
class doorbell {
 public:
  void signal() {
    std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_one();
  }
  [[nodiscard]] bool wait() {
    std::unique_lock lock(mutex_);
    const bool rung = changed_.wait_for(lock, patience, [this] { return set_; });
    set_ = false;
    return rung;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

// Spins until it holds. False: it does not for far too long.
template <class Condition>
[[nodiscard]] bool eventually(Condition&& holds) {
  const auto limit = steady::now() + patience;
  constexpr unsigned spins = 500;  // before the processor is given away, which may take long
  for (unsigned turn = 0; !holds(); ++turn) {
    std_atomics::pause(turn < spins ? 0 : turn);
    if (turn % 1024 == 1023 && steady::now() > limit) return false;
  }
  return true;
}

// Both protocols of the asymmetric fence: with membarrier, and where that is refused.
class with_both_fences : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !available()) GTEST_SKIP() << "membarrier is refused here";
    asymmetric_fences = GetParam();
  }
  void TearDown() override { asymmetric_fences = available(); }

 private:
  static bool available() {
    static const bool registered = (enable_asymmetric_fences(), asymmetric_fences);
    return registered;
  }
};

inline std::string name_of_fences(const testing::TestParamInfo<bool>& tested) {
  return tested.param ? "asymmetric" : "fallback";
}

}  // namespace coir::sched::stress
