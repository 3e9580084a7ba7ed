// options::cancel_on_interrupt: the first Ctrl-C ends main, the second one the process (F79).
#include <csignal>
#include <cstdlib>

#include <unistd.h>

#include <coir/sched/cancelled.hpp>
#include <coir/sched/signal_set.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/event.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

options interruptible() {
  ::alarm(sanitized ? 60 : 20);  // what is never interrupted ends otherwise
  options o;
  o.workers = 2;
  o.cancel_on_interrupt = true;
  return o;
}

void interrupt() { ::kill(::getpid(), SIGINT); }

void cancelled_main() {
  bool unwound = false, others = false;
  try {
    run(interruptible(), [&] {
      event begun;  // one that has not would end without having run
      auto child = spawn([&] {
        begun.set();
        try {
          this_fiber::sleep_for(1h);
        } catch (const cancelled&) {
          others = true;
          throw;
        }
      });
      begun.wait();
      interrupt();
      try {
        this_fiber::sleep_for(1h);
      } catch (const cancelled& c) {
        unwound = c.fiber() == this_fiber::id();
        throw;
      }
    });
  } catch (const interrupted&) {
    std::_Exit(unwound && others ? 3 : 4);
  }
}

void main_that_goes_on() {
  const int value = run(interruptible(), [] {
    try {
      interrupt();
      this_fiber::sleep_for(1h);
    } catch (const cancelled&) {}
    this_fiber::sleep_for(1ms);
    return 5;
  });
  std::_Exit(value);
}

void main_that_is_interrupted_again() {
  run(interruptible(), [] {
    for (;;) {
      interrupt();
      try {
        this_fiber::sleep_for(1h);
      } catch (const cancelled&) {}
    }
  });
}

// Though no worker ever comes back
void main_that_never_waits() {
  run(interruptible(), [] {
    interrupt();
    for (;;)  // two signals at once would be one
      if (this_fiber::cancel_requested()) interrupt();
  });
}

void not_interruptible() {
  run(options{}, [] {
    interrupt();
    this_fiber::sleep_for(1h);
  });
}

void interrupted_afterwards() {
  run(interruptible(), [] {});
  interrupt();
  for (;;) ::pause();
}

void main_with_a_set() {
  std::atomic<int> heard{0};
  try {
    run(interruptible(), [&] {
      signal_set mine{SIGINT};
      auto listener = spawn([&] { heard = mine.wait(); });
      interrupt();
      try {
        this_fiber::sleep_for(1h);
      } catch (const cancelled&) {
        shield([&] { listener.wait(); });
        throw;
      }
    });
  } catch (const interrupted&) {
    std::_Exit(heard == SIGINT ? 3 : 4);
  }
}

TEST(interrupt_death, the_first_one_cancels_main_and_run_says_so) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(cancelled_main(), ::testing::ExitedWithCode(3), "");
}

TEST(interrupt_death, main_that_goes_on_returns_its_value_and_the_second_one_ends_the_process) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(main_that_goes_on(), ::testing::ExitedWithCode(5), "");
  EXPECT_EXIT(main_that_is_interrupted_again(), ::testing::KilledBySignal(SIGINT), "");
  EXPECT_EXIT(main_that_never_waits(), ::testing::KilledBySignal(SIGINT), "");
}

TEST(interrupt_death, without_the_option_it_ends_the_process) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(not_interruptible(), ::testing::KilledBySignal(SIGINT), "");
}

TEST(interrupt_death, afterwards_the_disposition_is_as_before) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(interrupted_afterwards(), ::testing::KilledBySignal(SIGINT), "");
}

TEST(interrupt_death, a_set_with_it_hears_the_first_one_too) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(main_with_a_set(), ::testing::ExitedWithCode(3), "");
}

}  // namespace
}  // namespace coir::testing
