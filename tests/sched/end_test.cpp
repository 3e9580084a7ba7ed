// How a runtime ends when it cannot end well: fibers that ignore cancellation, and fork(2).
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coir/sched/futex_driver.hpp>
#include <coir/sched/runtime.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sync/event.hpp>

#include "fiber/sanitizers.hpp"

namespace {

using namespace std::chrono_literals;

coir::options with(unsigned workers) {
  coir::options o;
  o.workers = workers;
  return o;
}

class end_test : public testing::TestWithParam<unsigned> {
 protected:
  std::unique_ptr<coir::runtime> runtime =
      std::make_unique<coir::runtime>(with(GetParam()), coir::sched::make_futex_drivers());
};

INSTANTIATE_TEST_SUITE_P(workers, end_test, testing::Values(1u, 2u, 4u, 8u));

// What an abandoned fiber looks at outlives every test.
struct stubbornness {
  std::atomic<bool> begun{false}, enough{false};
};
stubbornness& new_stubbornness() {
  static auto& all = *new std::vector<std::unique_ptr<stubbornness>>;
  return *all.emplace_back(std::make_unique<stubbornness>());
}

// Ignores its cancellation until it has had enough.
void be_stubborn(stubbornness& s) {
  s.begun = true;
  while (!s.enough.load()) {
    try {
      coir::this_fiber::sleep_for(1ms);
    } catch (const coir::cancelled&) {
      std::this_thread::sleep_for(1ms);  // the next sleep throws at once: spare the processor
    }
  }
}

TEST_P(end_test, a_shutdown_without_a_limit_outlasts_fibers_that_swallow_cancellation) {
  std::atomic<bool> begun{false}, enough{false};
  std::atomic<int> swallowed{0};
  auto t = runtime->spawn([&] {
    begun = true;
    while (!enough.load()) {
      try {
        coir::this_fiber::sleep_for(10s);
      } catch (const coir::cancelled&) {
        if (++swallowed == 3) enough = true;
      }
    }
  });
  while (!begun) std::this_thread::yield();
  runtime->shutdown();
  EXPECT_EQ(swallowed.load(), 3);
  EXPECT_TRUE(t.done());
}

TEST_P(end_test, a_shutdown_within_its_limit_is_whole) {
  auto t = runtime->spawn([] { coir::this_fiber::sleep_for(1h); });
  EXPECT_TRUE(runtime->shutdown(1min));
  EXPECT_TRUE(t.cancelled());
  EXPECT_TRUE(runtime->fibers().empty());
  EXPECT_TRUE(runtime->shutdown(0s)) << "again";
  EXPECT_THROW(static_cast<void>(runtime->spawn([] {})), std::logic_error);
}

TEST_P(end_test, past_the_limit_the_rest_is_named_and_abandoned) {
  auto& how = new_stubbornness();
  auto stubborn = runtime->spawn({.name = "stubborn"}, [&how] { be_stubborn(how); });
  while (!how.begun) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(50ms));
  const auto left = runtime->fibers();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].name, "stubborn");
  try {
    stubborn.get();
    FAIL() << "an abandoned fiber has no value";
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), std::future_errc::broken_promise);
  }
  how.enough = true;
}

TEST_P(end_test, a_thread_that_waits_for_an_abandoned_fiber_is_told) {
  auto& how = new_stubbornness();
  auto stubborn = runtime->spawn([&how] { be_stubborn(how); });
  std::promise<std::error_code> told;
  std::thread waiter([&] {
    try {
      stubborn.get();
      told.set_value({});
    } catch (const std::future_error& e) {
      told.set_value(e.code());
    }
  });
  while (!how.begun) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(20ms));
  EXPECT_EQ(told.get_future().get(), std::future_errc::broken_promise);
  waiter.join();
  how.enough = true;
}

TEST(end_death, past_shutdown_limit_the_process_ends_and_names_the_fibers) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        coir::options o = with(2);
        o.shutdown_limit = 20ms;
        coir::runtime r(o, coir::sched::make_futex_drivers());
        stubbornness how;
        auto t = r.spawn({.name = "stubborn"}, [&how] { be_stubborn(how); });
        while (!how.begun) std::this_thread::yield();
        r.shutdown();
      },
      "coir: 1 fibers ignore cancellation");
}

// What a child of fork() does with its parent's runtime: the exit status says how far it came.
template <class Child>
int status_of(Child&& child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST_P(end_test, a_child_of_fork_is_refused_and_may_have_a_runtime_of_its_own) {
  if (coir::fiber::sanitizers::thread)
    GTEST_SKIP() << "ThreadSanitizer allows no threads in a child of a threaded process";
  const int status = status_of([&] {
    try {
      auto t = runtime->spawn([] {});
      return 1;
    } catch (const std::logic_error& e) {
      if (std::string(e.what()).find("does not survive fork") == std::string::npos) return 2;
    }
    runtime->shutdown();  // says no more, and returns
    coir::runtime own(with(GetParam()), coir::sched::make_futex_drivers());
    return own.block_on([] { return 42; });
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(runtime->block_on([] { return 3; }), 3) << "the parent goes on";
}

TEST_P(end_test, a_fiber_that_forks_may_exec_but_not_park_in_the_child) {
  const int executed = runtime->block_on([] {
    return status_of([] {
      ::execl("/bin/true", "true", static_cast<char*>(nullptr));
      return 1;
    });
  });
  EXPECT_TRUE(WIFEXITED(executed) && WEXITSTATUS(executed) == 0);
  if (coir::fiber::sanitizers::thread) return;  // ends the child in a way of its own
  const int parked = runtime->block_on([] {
    return status_of([] {
      std::fclose(stderr);  // the message is for somebody else
      coir::this_fiber::sleep_for(1ms);
      return 0;
    });
  });
  EXPECT_TRUE(WIFSIGNALED(parked) && WTERMSIG(parked) == SIGABRT);
}

}  // namespace
