#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class event_test : public runtime_test {
 protected:
  template <class T>
  static void wait_until_parked(const task<T>& t) {
    while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
  }
};
INSTANTIATE_TEST_SUITE_P(, event_test, every_setting(), name_of);

TEST_P(event_test, set_wakes_every_fiber_and_thread_that_waits) {
  event e;
  std::atomic<int> woken{0};
  std::vector<task<void>> fibers;
  for (int i = 0; i < 20; ++i)
    fibers.push_back(rt().spawn([&] {
      e.wait();
      ++woken;
    }));
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      e.wait();
      ++woken;
    });
  std::this_thread::sleep_for(2ms);
  EXPECT_EQ(woken.load(), 0);
  EXPECT_FALSE(e.is_set());
  e.set();
  EXPECT_TRUE(e.is_set());
  for (auto& t : fibers) t.get();
  for (auto& t : threads) t.join();
  EXPECT_EQ(woken.load(), 23);
}

TEST_P(event_test, set_wakes_who_waits_even_if_reset_follows) {
  on_fiber([] {
    event e;
    for (int round = 0; round < 20; ++round) {
      std::vector<task<void>> all;
      for (int i = 0; i < 5; ++i) all.push_back(spawn([&] { e.wait(); }));
      for (auto& t : all) wait_until_parked(t);
      e.set();
      e.reset();
      for (auto& t : all) EXPECT_TRUE(t.wait_for(5s));
      EXPECT_FALSE(e.is_set());
    }
  });
}

TEST_P(event_test, a_set_event_lets_through_until_it_is_reset) {
  on_fiber([] {
    event e;
    e.set();
    e.set();
    e.wait();
    e.wait();
    EXPECT_TRUE(e.wait_for(0ms));
    e.reset();
    e.reset();
    const auto start = clock::now();
    EXPECT_FALSE(e.wait_for(2ms));
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_FALSE(e.wait_for(-1h));
    EXPECT_FALSE(e.wait_until(clock::now() + 1ms));
  });
}

TEST_P(event_test, timed_waits_work_on_threads) {
  event e;
  EXPECT_FALSE(e.wait_for(1ms));
  auto t = rt().spawn([&] {
    this_fiber::sleep_for(2ms);
    e.set();
  });
  EXPECT_TRUE(e.wait_for(30s));
  EXPECT_TRUE(e.wait_until(clock::time_point::max()));
  t.get();
}

TEST_P(event_test, a_cancelled_waiter_leaves_the_others_waiting) {
  on_fiber([] {
    event e;
    auto first = spawn([&] { e.wait(); });
    auto second = spawn([&] { e.wait(); });
    wait_until_parked(first);
    wait_until_parked(second);
    first.cancel();
    EXPECT_THROW(first.get(), cancelled);
    EXPECT_FALSE(second.done());
    e.set();
    second.get();
  });
}

TEST_P(event_test, it_may_be_destroyed_by_the_one_that_it_has_woken) {
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto e = std::make_unique<event>();
    auto t = rt().spawn([&] {
      e->wait();
      e.reset();
    });
    e->set();
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
