#include <coir/sched/cancelled.hpp>
#include <coir/sync/mutex.hpp>
#include <coir/sync/notifier.hpp>

#include <algorithm>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using notifier_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, notifier_test, worker_counts(), name_of);

TEST_P(notifier_test, notify_one_keeps_one_permit_at_most_and_notify_all_none) {
  const auto check = [] {
    notifier n;
    n.notify_all();
    EXPECT_FALSE(n.wait_for(1ms)) << "notify_all keeps nothing";
    n.notify_one();
    n.notify_one();
    n.wait();
    EXPECT_FALSE(n.wait_until(clock::now() + 1ms)) << "two permits were kept";
    n.notify_one();
    n.notify_all();
    EXPECT_TRUE(n.wait_for(0ms)) << "notify_all took the permit";
  };
  check();
  on_fiber(check);
}

TEST_P(notifier_test, it_wakes_in_the_order_in_which_they_came_and_all_of_them) {
  on_fiber([] {
    notifier n;
    mutex m;
    std::vector<int> order;  // under m
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(spawn([&, i] {
        n.wait();
        std::lock_guard held(m);
        order.push_back(i);
      }));
      wait_until_parked(all.back());
    }
    for (std::size_t i = 0; i < 10; ++i) {
      n.notify_one();
      all[i].get();
    }
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(order.size(), 10U);
    n.notify_all();
    for (std::size_t i = 10; i < 20; ++i) EXPECT_TRUE(all[i].wait_for(5s));
    EXPECT_FALSE(n.wait_for(0ms)) << "and kept nothing";
  });
}

TEST_P(notifier_test, a_notification_does_not_go_with_a_waiter_that_was_cancelled_or_gave_up) {
  on_fiber([] {
    notifier n;
    auto doomed = spawn([&] { n.wait(); });
    wait_until_parked(doomed);
    auto second = spawn([&] { n.wait(); });
    wait_until_parked(second);
    doomed.cancel();
    n.notify_one();
    doomed.wait();
    if (doomed.cancelled())
      EXPECT_TRUE(second.wait_for(5s)) << "the next one gets it";
    else
      n.notify_one();  // the doomed one had it first
    second.get();
    EXPECT_FALSE(n.wait_for(1ms));
    n.notify_one();
    EXPECT_TRUE(n.wait_for(1ms)) << "kept, though somebody had waited";
  });
}

TEST_P(notifier_test, it_wakes_threads_and_fibers_in_any_mix) {
  notifier n;
  std::atomic<int> turns{0};
  const int rounds = sanitized ? 50 : 400;
  notifier back;
  in_any_mix(rt(), {[&] {
                      for (int i = 0; i < rounds; ++i) {
                        n.notify_one();
                        back.wait();
                      }
                    },
                    [&] {
                      for (int i = 0; i < rounds; ++i) {
                        n.wait();
                        ++turns;
                        back.notify_one();
                      }
                    }});
  EXPECT_EQ(turns.load(), rounds);
}

TEST_P(notifier_test, it_may_be_destroyed_by_the_one_that_it_has_woken) {
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto n = std::make_unique<notifier>();
    auto t = rt().spawn([&] {
      n->wait();
      n.reset();
    });
    n->notify_one();
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
