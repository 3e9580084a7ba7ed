// The fixture of every test that runs fibers: each case at 1, 2, 4 and 8 workers, with the futex
// driver and with the scripted one under both completion contracts. It fails if a fiber, a stack, a
// descriptor or a thread is left.
#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <coir/sched/futex_driver.hpp>
#include <coir/sched/runtime.hpp>
#include <coir/sched/this_fiber.hpp>

#include "fake_driver.hpp"
#include "fiber/sanitizers.hpp"
#include "sched/worker.hpp"

namespace coir::testing {

using namespace std::chrono_literals;

inline constexpr bool sanitized = fiber::sanitizers::address || fiber::sanitizers::thread;

enum class drivers : std::uint8_t { futex, fake_home, fake_roaming };

struct setting {
  unsigned workers;
  drivers with;
};

inline std::string to_string(const setting& s) {
  static const char* const names[] = {"futex", "fake_home", "fake_roaming"};
  return std::to_string(s.workers) + "_" + names[static_cast<int>(s.with)];
}
inline void PrintTo(const setting& s, std::ostream* out) { *out << to_string(s); }
inline std::string name_of(const ::testing::TestParamInfo<setting>& s) {
  return to_string(s.param);
}

inline std::vector<setting> settings(std::vector<unsigned> workers, std::vector<drivers> with) {
  std::vector<setting> all;
  for (drivers d : with)
    for (unsigned w : workers) all.push_back({w, d});
  return all;
}
inline auto every_setting() {
  return ::testing::ValuesIn(
      settings({1, 2, 4, 8}, {drivers::futex, drivers::fake_home, drivers::fake_roaming}));
}
inline auto settings_with_thieves() {
  return ::testing::ValuesIn(
      settings({2, 4, 8}, {drivers::futex, drivers::fake_home, drivers::fake_roaming}));
}
inline auto worker_counts() {  // for what no driver has a part in
  return ::testing::ValuesIn(settings({1, 2, 4, 8}, {drivers::futex}));
}
inline auto stress_settings() { return ::testing::ValuesIn(settings({2, 4}, {drivers::futex})); }
inline auto fake_settings() {
  return ::testing::ValuesIn(settings({1, 2, 4, 8}, {drivers::fake_home, drivers::fake_roaming}));
}

// --- what tests ask the system

inline std::size_t entries_of(const char* directory) {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++n;
  return n;
}
inline std::size_t open_descriptors() { return entries_of("/proc/self/fd"); }
inline std::size_t running_threads() {
  // With the first thread of a process ThreadSanitizer starts one of its own.
  static const bool first_thread_made = (std::thread([] {}).join(), true);
  static_cast<void>(first_thread_made);
  return entries_of("/proc/self/task");
}

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

// Runs f in a forked child of this process, which has no other thread, and returns what it returns;
// -1: it took longer than the limit, or died.
template <class F>
int in_child(std::chrono::seconds limit, F&& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(static_cast<unsigned>(limit.count()));
    ::_exit(f());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
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

// The worker that runs the calling fiber, now.
[[gnu::noinline]] inline unsigned this_worker() {
  return static_cast<sched::worker&>(sched::current_host()).index;
}
// A fiber about itself: from now on it may be stolen, or no longer. Spawned pinned, it begins where
// its parent runs.
[[gnu::noinline]] inline void set_pinned(bool pinned) {
  static_cast<sched::worker&>(sched::current_host()).current()->pinned = pinned;
}

inline std::unique_ptr<runtime> make_runtime(options o, fake_io* device = nullptr,
                                             const fiber::stack_pool_options& stacks = {}) {
  sched::parts made_of(device != nullptr ? device->drivers() : sched::make_futex_drivers());
  made_of.stacks = stacks;
  return std::make_unique<runtime>(std::move(o), std::move(made_of));
}
inline std::unique_ptr<runtime> make_runtime(unsigned workers) {
  options o;
  o.workers = workers;
  return make_runtime(std::move(o));
}

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
  if (sanitized && all < 1000) return;  // too slow to say
  EXPECT_GE(first * 100, all) << what;
  EXPECT_GE(second * 100, all) << what;
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

// --- the fixture

class runtime_test : public ::testing::TestWithParam<setting> {
 protected:
  runtime_test() { opts.workers = GetParam().workers; }

  // Made at first use, with opts and stacks as they are then.
  runtime& rt() {
    if (runtime_ == nullptr) {
      descriptors_ = open_descriptors();
      threads_ = running_threads();
      runtime_ = make_runtime(opts, GetParam().with == drivers::futex ? nullptr : &io, stacks);
    }
    return *runtime_;
  }

  // Runs f as a fiber; its result.
  template <class F>
  auto on_fiber(F&& f) {
    return rt().block_on(std::forward<F>(f));
  }

  // Ends the runtime, as ~runtime does. A stack that is left stops the process in ~stack_pool.
  void stop() {
    if (runtime_ == nullptr) return;
    runtime_.reset();
    EXPECT_TRUE(eventually([&] { return running_threads() <= threads_; }, 5s))
        << "a thread is left";
    EXPECT_EQ(open_descriptors(), descriptors_) << "a descriptor is left";
    EXPECT_EQ(io.misuses.load(), 0U) << "a driver was called by a thread that does not own it";
  }

  void TearDown() override {
    if (runtime_ != nullptr) {
      EXPECT_TRUE(eventually([&] { return runtime_->metrics().fibers_alive == 0; }))
          << runtime_->metrics().fibers_alive << " fibers are left";
      for (const fiber_info& f : runtime_->fibers())
        ADD_FAILURE() << "fiber '" << f.name << "' is left and waits for '" << f.waits_for << "'";
    }
    stop();
  }

  unsigned workers() const { return GetParam().workers; }

  options opts;
  fiber::stack_pool_options stacks;
  fake_io io{GetParam().with == drivers::fake_roaming ? sched::completion_contract::roaming
                                                      : sched::completion_contract::home};

 private:
  std::unique_ptr<runtime> runtime_;
  std::size_t descriptors_ = 0, threads_ = 0;
};

}  // namespace coir::testing
