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

#include "asking.hpp"
#include "fake_driver.hpp"
#include "fiber/sanitizers.hpp"
#include "racing.hpp"
#include "sched/worker.hpp"

namespace coir::testing {

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

inline std::size_t running_threads() {
  // With the first thread of a process ThreadSanitizer starts one of its own.
  static const bool first_thread_made = (std::thread([] {}).join(), true);
  static_cast<void>(first_thread_made);
  return entries_of("/proc/self/task");
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
  made_of.looks_for_deadlocks = false;
  return std::make_unique<runtime>(std::move(o), std::move(made_of));
}
inline std::unique_ptr<runtime> make_runtime(unsigned workers) {
  options o;
  o.workers = workers;
  return make_runtime(std::move(o));
}

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
