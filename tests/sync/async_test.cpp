#include <coir/sched/cancelled.hpp>
#include <coir/sync/async.hpp>
#include <coir/sync/event.hpp>

#include <memory>
#include <string>
#include <system_error>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using async_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, async_test, worker_counts(), name_of);

TEST_P(async_test, its_result_its_error_and_its_arguments) {
  on_fiber([] {
    EXPECT_EQ(async([](int i) { return i; }, 3).get(), 3);
    int target = 0;
    EXPECT_EQ(&async([](int& i) -> int& { return i; }, std::ref(target)).get(), &target);
    async([](std::unique_ptr<int> p) { EXPECT_EQ(*p, 1); }, std::make_unique<int>(1)).get();
    EXPECT_EQ(*async([] { return std::make_unique<int>(4); }).get(), 4);
    EXPECT_THROW(async([] { throw std::out_of_range("x"); }).get(), std::out_of_range);
    EXPECT_EQ(async(&std::string::size, std::string("abc")).get(), 3U);
  });
  EXPECT_THROW(static_cast<void>(async([] {})), std::system_error)
      << "a plain thread has no fibers";
}

TEST_P(async_test, arguments_and_locals_are_gone_before_anybody_learns_that_it_is_done) {
  on_fiber([] {
    for (int i = 0; i < 50; ++i) {
      auto held = std::make_shared<int>(1);
      auto f = async([held](std::shared_ptr<int>) { this_fiber::yield(); }, held);
      f.get();
      EXPECT_EQ(held.use_count(), 1);
    }
  });
}

TEST_P(async_test, cancel_cancels_its_fiber_and_the_future_is_done_when_that_has_ended) {
  on_fiber([] {
    event begun, unwound;
    auto f = async([&] {
      struct late {
        event& e;
        ~late() { e.set(); }
      } at_the_end{unwound};
      begun.set();
      event nobody_sets;
      nobody_sets.wait();
    });
    begun.wait();
    EXPECT_TRUE(f.cancel("why"));
    try {
      f.get();
      FAIL();
    } catch (const cancelled& c) {
      EXPECT_EQ(c.reason(), "why");
      EXPECT_TRUE(unwound.is_set());
    }
    EXPECT_FALSE(this_fiber::cancel_requested());
    auto ignores = async([] {
      try {
        this_fiber::sleep_for(1h);
      } catch (const cancelled&) {}
      return 5;
    });
    this_fiber::yield();
    ignores.cancel();
    try {
      EXPECT_EQ(ignores.get(), 5);
    } catch (const cancelled&) {  // it had not begun
    }
  });
}

TEST_P(async_test, cancelled_before_it_starts_it_never_runs) {
  on_fiber([&] {
    int never_run = 0;
    for (int i = 0; i < 100; ++i) {
      std::atomic<bool> ran{false};
      auto held = std::make_shared<int>(1);
      auto f = async([&ran, held] { ran = true; });
      EXPECT_TRUE(f.cancel("early") || f.done());
      try {
        f.get();
      } catch (const cancelled& c) {
        EXPECT_FALSE(ran);
        EXPECT_EQ(c.reason(), "early");
        ++never_run;
      }
      EXPECT_EQ(held.use_count(), 1);
    }
    if (workers() == 1) {
      EXPECT_EQ(never_run, 100);
    }
  });
}

TEST_P(async_test, a_future_that_goes_leaves_the_fiber_running) {
  on_fiber([] {
    event done;
    {
      auto f = async([&] { done.set(); });
    }
    done.wait();
    {
      auto f = async([] { throw 1; });  // an error that nobody reads is dropped
    }
  });
}

TEST_P(async_test, shutdown_ends_it_and_tells_who_waits) {
  auto f = on_fiber([] {
    event begun;
    auto made = async([&begun] {
      begun.set();
      this_fiber::sleep_for(1h);
    });
    begun.wait();
    return made;
  });
  stop();
  EXPECT_THROW(f.get(), cancelled);
  EXPECT_FALSE(f.valid());
}

}  // namespace
}  // namespace coir::testing
