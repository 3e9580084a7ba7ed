#include <coir/sched/cancelled.hpp>
#include <coir/sync/watch.hpp>

#include <string>

#include "payloads.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class watch_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, watch_test, every_setting(), name_of);

TEST_P(watch_test, a_receiver_sees_the_latest_value_only) {
  on_fiber([] {
    watch<std::string> w("a");
    EXPECT_EQ(w.get(), "a");
    auto r = w.subscribe();
    EXPECT_EQ(r.get(), "a");
    EXPECT_FALSE(r.changed_for(1ms)) << "what is there when it subscribes counts as seen";
    w.set("b");
    w.set("c");
    EXPECT_TRUE(r.changed());
    EXPECT_EQ(r.get(), "c");
    EXPECT_FALSE(r.changed_until(clock::now()));
    w.set("c");
    EXPECT_EQ(r.get(), "c");
    EXPECT_FALSE(r.changed_for(0ms)) << "get has seen it";
    w.set("c");
    EXPECT_TRUE(r.changed_for(1h)) << "set again, if to the same";
  });
}

TEST_P(watch_test, set_wakes_all_who_wait_on_fibers_and_threads) {
  watch<int> w(0);
  std::vector<task<int>> fibers;
  for (int i = 0; i < 10; ++i)
    fibers.push_back(rt().spawn([r = std::make_shared<watch<int>::receiver>(w.subscribe())] {
      EXPECT_TRUE(r->changed());
      return r->get();
    }));
  std::thread thread([&, r = std::make_shared<watch<int>::receiver>(w.subscribe())] {
    EXPECT_TRUE(r->changed_for(1h));
    EXPECT_EQ(r->get(), 5);
  });
  for (auto& t : fibers) wait_until_parked(t);
  w.set(5);
  for (auto& t : fibers) EXPECT_EQ(t.get(), 5);
  thread.join();
}

TEST_P(watch_test, after_close_the_last_value_is_seen_once) {
  on_fiber([] {
    auto w = std::make_unique<watch<int>>(1);
    auto r = w->subscribe(), waiting = w->subscribe(), late = w->subscribe();
    auto t = spawn([&] { return waiting.changed(); });
    wait_until_parked(t);
    w->set(2);
    EXPECT_TRUE(t.get());
    t = spawn([&] { return waiting.changed(); });
    wait_until_parked(t);
    w->close();
    w->close();
    EXPECT_FALSE(t.get());
    EXPECT_THROW(w->set(3), channel_closed);
    EXPECT_EQ(w->get(), 2);
    EXPECT_FALSE(r.drained());
    EXPECT_TRUE(r.changed()) << "one was left";
    EXPECT_FALSE(r.changed());
    EXPECT_TRUE(r.drained());
    w.reset();
    EXPECT_EQ(r.get(), 2) << "it outlives the watch";
    EXPECT_EQ(late.get(), 2);
    EXPECT_FALSE(late.changed());
    auto moved = std::move(late);
    EXPECT_EQ(moved.get(), 2);
    EXPECT_THROW(late.get(), std::future_error);
  });
}

TEST_P(watch_test, a_cancelled_wait_has_seen_nothing) {
  on_fiber([] {
    watch<int> w(1);
    auto r = w.subscribe();
    auto t = spawn([&] { r.changed(); });
    wait_until_parked(t);
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    w.set(2);
    EXPECT_TRUE(r.changed());
  });
}

// F87
TEST_P(watch_test, a_copy_that_throws_leaves_the_value_unseen) {
  on_fiber([] {
    watch<brittle> w(brittle(1));
    auto r = w.subscribe();
    w.set(brittle(2));
    brittle::armed = 1;
    EXPECT_THROW(r.get(), std::runtime_error);
    EXPECT_TRUE(r.changed_for(0ms));
    EXPECT_EQ(r.get().value, 2);
    brittle three(3);
    brittle::armed = 2;
    EXPECT_THROW(w.set(three), std::runtime_error);
    brittle::armed = 0;
    EXPECT_EQ(w.get().value, 2);
  });
}

// --- stress: values only grow, and the last one is seen

class watch_race : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, watch_race, stress_settings(), name_of);

TEST_P(watch_race, receivers_see_values_in_their_order_and_always_the_last) {
  std::atomic<std::uint64_t> progress{0};
  const watchdog guard(rt(), progress);
  const auto until = std::chrono::steady_clock::now() + stress_time(300ms);
  for (std::uint32_t round = 1; std::chrono::steady_clock::now() < until; ++round) {
    watch<std::string> w("0");
    std::vector<task<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(
          rt().spawn([&, r = std::make_shared<watch<std::string>::receiver>(w.subscribe())] {
            int last = 0;
            while (r->changed()) {
              const int now = std::stoi(r->get());
              EXPECT_GE(now, last);
              last = now;
            }
            EXPECT_EQ(last, 100);
          }));
    dice random(round);
    for (int i = 1; i <= 100; ++i) {
      w.set(std::to_string(i));
      random.spin(100);
    }
    w.close();
    for (auto& t : all) t.get();
    progress.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace
}  // namespace coir::testing
