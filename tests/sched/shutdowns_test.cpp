// Several threads that shut one runtime down at the same time, each within its own limit.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <coir/sched/futex_driver.hpp>
#include <coir/sched/runtime.hpp>
#include <coir/sync/offload_async.hpp>

#include "stubborn.hpp"

namespace coir::testing {
namespace {

using namespace std::chrono_literals;

class shutdowns_test : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(workers, shutdowns_test, ::testing::Values(1u, 2u, 4u, 8u));

// The conductor waits for fibers, or for offload; the limit comes when it does.
TEST_P(shutdowns_test, a_limit_counts_also_for_a_shutdown_without_one_at_the_same_time) {
  for (const bool offloaded : {false, true}) {
    runtime r(with(GetParam()), sched::make_futex_drivers());
    auto& how = new_stubbornness();
    auto stubborn = r.spawn([&how, offloaded] {
      if (!offloaded) return be_stubborn(how);
      static_cast<void>(offload_async([&how] {
        how.begun = true;
        while (!how.enough) std::this_thread::sleep_for(1ms);
      }));
    });
    while (!how.begun) std::this_thread::yield();
    auto unlimited = std::async(std::launch::async, [&] { r.shutdown(); });
    EXPECT_EQ(unlimited.wait_for(20ms), std::future_status::timeout);
    EXPECT_FALSE(r.shutdown(10ms));
    if (unlimited.wait_for(20s) != std::future_status::ready) std::abort();
    EXPECT_FALSE(r.shutdown(1h)) << "again";
    if (offloaded)
      stubborn.get();
    else
      EXPECT_THROW(stubborn.get(), std::future_error);
    how.enough = true;
  }
}

TEST_P(shutdowns_test, of_two_limits_the_earlier_counts_whoever_comes_first) {
  for (const bool earlier_first : {false, true}) {
    runtime r(with(GetParam()), sched::make_futex_drivers());
    auto& how = new_stubbornness();
    auto stubborn = r.spawn([&how] { be_stubborn(how); });
    while (!how.begun) std::this_thread::yield();
    auto first = std::async(std::launch::async,
                            [&] { return earlier_first ? r.shutdown(100ms) : r.shutdown(1h); });
    EXPECT_EQ(first.wait_for(20ms), std::future_status::timeout);
    EXPECT_FALSE(earlier_first ? r.shutdown(1h) : r.shutdown(100ms));
    EXPECT_FALSE(first.get());
    EXPECT_THROW(stubborn.get(), std::future_error);
    how.enough = true;
  }
}

TEST_P(shutdowns_test, shutdowns_at_the_same_time_all_wait_for_the_end) {
  for (int round = 0; round < 20; ++round) {
    runtime r(with(GetParam()), sched::make_futex_drivers());
    std::atomic<bool> begun{false}, unwound{false};
    r.spawn([&] {
       struct guard {
         std::atomic<bool>& done;
         ~guard() {
           std::this_thread::sleep_for(100us);
           done = true;
         }
       } g{unwound};
       begun = true;
       this_fiber::sleep_for(1h);
     }).detach();
    while (!begun) std::this_thread::yield();
    std::vector<std::future<bool>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(std::async(std::launch::async, [&, i] {
        if (i % 2 == 0) return r.shutdown(1h) && unwound;
        r.shutdown();
        return unwound.load();
      }));
    for (auto& done : all) EXPECT_TRUE(done.get());
  }
}

TEST_P(shutdowns_test, the_limit_of_the_options_stops_the_process_beside_a_later_one) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        auto o = with(GetParam());
        o.shutdown_limit = 50ms;
        runtime r(o, sched::make_futex_drivers());
        auto& how = new_stubbornness();
        r.spawn({.name = "stubborn"}, [&how] { be_stubborn(how); }).detach();
        while (!how.begun) std::this_thread::yield();
        auto later = std::async(std::launch::async, [&] { return r.shutdown(1h); });
        r.shutdown();
      },
      "stubborn(.|\n)*1 fibers ignore cancellation");
}

}  // namespace
}  // namespace coir::testing
