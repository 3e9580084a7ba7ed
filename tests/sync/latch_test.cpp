#include <coir/sched/cancelled.hpp>
#include <coir/sync/latch.hpp>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using latch_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, latch_test, worker_counts(), name_of);

TEST_P(latch_test, nobody_passes_before_the_last_has_arrived_in_any_mix) {
  for (int round = 0; round < 20; ++round) {
    latch all(6);
    std::atomic<int> arrived{0};
    in_any_mix(rt(), std::vector<std::function<void()>>(6, [&] {
                 ++arrived;
                 all.arrive_and_wait();
                 EXPECT_EQ(arrived.load(), 6);
               }));
    EXPECT_TRUE(all.try_wait());
  }
}

TEST_P(latch_test, counts_of_many_of_nothing_and_a_latch_for_nobody) {
  latch l(5);
  l.count_down(0);
  l.count_down(4);
  EXPECT_FALSE(l.try_wait());
  EXPECT_FALSE(l.wait_for(1ms));
  EXPECT_FALSE(l.wait_until(clock::now() - 1h));
  EXPECT_TRUE(l.arrive_and_wait_for(0ms));
  EXPECT_TRUE(l.wait_for(-1h));
  l.wait();
  latch none(0);
  none.wait();
  EXPECT_TRUE(none.arrive_and_wait_until(clock::now(), 0));
}

TEST_P(latch_test, a_cancelled_wait_keeps_the_arrival_and_one_cancelled_before_makes_none) {
  on_fiber([&] {
    latch l(2);
    auto waits = spawn([&] { l.arrive_and_wait(); });
    wait_until_parked(waits);
    waits.cancel();
    EXPECT_THROW(waits.get(), cancelled);
    auto before = spawn_begun([&] {
      until_cancel_is_pending();
      l.arrive_and_wait();
    });
    before.cancel();
    EXPECT_THROW(before.get(), cancelled);
    EXPECT_FALSE(l.try_wait());
    l.count_down();
    EXPECT_TRUE(l.try_wait()) << "an arrival was lost";
  });
}

TEST_P(latch_test, a_wait_for_what_is_done_is_not_cancelled) {
  on_fiber([&] {
    latch l(0);
    auto t = spawn_begun([&] {
      until_cancel_is_pending();
      l.wait();
      return 1;
    });
    t.cancel();
    EXPECT_EQ(t.get(), 1);
  });
}

TEST_P(latch_test, it_may_be_destroyed_by_the_one_that_it_has_woken) {
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto l = std::make_unique<latch>(1);
    auto t = rt().spawn([&] {
      l->wait();
      l.reset();
    });
    l->count_down();
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
