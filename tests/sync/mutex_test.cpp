#include <coir/sched/cancelled.hpp>
#include <coir/sync/mutex.hpp>

#include <algorithm>
#include <mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class mutex_test : public runtime_test {
 protected:
  template <class T>
  static void wait_until_parked(const task<T>& t) {
    while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
  }
};
INSTANTIATE_TEST_SUITE_P(, mutex_test, every_setting(), name_of);

TEST_P(mutex_test, stds_guards_work_on_fibers_and_threads) {
  mutex m, other;
  const auto use = [&] {
    { std::lock_guard lock(m); }
    { std::scoped_lock lock(m, other); }
    {
      std::unique_lock lock(m, std::try_to_lock);
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(m.try_lock()) << "not recursive";
    }
    {
      std::unique_lock lock(m, 10ms);
      EXPECT_TRUE(lock.owns_lock());
    }
    {
      std::unique_lock lock(m, std::chrono::steady_clock::now() + 10ms);
      EXPECT_TRUE(lock.owns_lock());
    }
  };
  use();
  on_fiber(use);
}

TEST_P(mutex_test, one_at_a_time_among_fibers_and_threads_in_any_mix) {
  mutex m;
  long plain = 0;
  const int rounds = sanitized ? 200 : 2000;
  const auto work = [&] {
    for (int i = 0; i < rounds; ++i) {
      std::lock_guard lock(m);
      const long seen = plain;
      if (i % 64 == 0) this_fiber::yield();
      plain = seen + 1;
    }
  };
  std::vector<task<void>> fibers;
  for (int i = 0; i < 6; ++i) fibers.push_back(rt().spawn(work));
  std::thread first(work), second(work);
  for (auto& t : fibers) t.get();
  first.join();
  second.join();
  EXPECT_EQ(plain, 8L * rounds);
}

TEST_P(mutex_test, waiters_get_it_in_the_order_in_which_they_came) {
  mutex m;
  std::vector<int> order;
  on_fiber([&] {
    std::vector<task<void>> all;
    m.lock();
    for (int i = 0; i < 50; ++i) {
      all.push_back(spawn([&, i] {
        std::lock_guard lock(m);
        order.push_back(i);
      }));
      wait_until_parked(all.back());
    }
    m.unlock();
    for (auto& t : all) t.get();
  });
  ASSERT_EQ(order.size(), 50U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(mutex_test, timed_locks_give_up_in_time_and_not_before) {
  mutex m;
  const auto check = [&] {
    const auto start = clock::now();
    EXPECT_FALSE(m.try_lock_for(3ms));
    EXPECT_GE(clock::now() - start, 3ms);
    EXPECT_FALSE(m.try_lock_until(clock::now() + 1ms));
    EXPECT_FALSE(m.try_lock_for(0ms));
    EXPECT_FALSE(m.try_lock_for(-1h));
    EXPECT_FALSE(m.try_lock_until(clock::time_point::min()));
    EXPECT_FALSE(m.try_lock());
  };
  m.lock();
  on_fiber(check);
  std::thread(check).join();
  m.unlock();
  on_fiber([&] {
    EXPECT_TRUE(m.try_lock_for(-1h)) << "it is free";
    auto waiter = spawn([&] {
      EXPECT_TRUE(m.try_lock_for(std::chrono::hours::max()));
      m.unlock();
    });
    wait_until_parked(waiter);
    m.unlock();
    waiter.get();
  });
}

TEST_P(mutex_test, a_waiter_that_gives_up_or_is_cancelled_does_not_take_it_along) {
  mutex m;
  on_fiber([&] {
    for (int round = 0; round < 20; ++round) {
      m.lock();
      auto early = spawn([&] { EXPECT_FALSE(m.try_lock_for(200us)); });
      wait_until_parked(early);
      auto doomed = spawn([&] { m.lock(); });
      wait_until_parked(doomed);
      auto last = spawn([&] {
        m.lock();
        m.unlock();
      });
      wait_until_parked(last);
      doomed.cancel();
      doomed.wait();
      early.wait();
      EXPECT_FALSE(last.done());
      m.unlock();
      last.get();
      EXPECT_TRUE(doomed.cancelled());
      ASSERT_TRUE(m.try_lock());
      m.unlock();
    }
  });
}

TEST_P(mutex_test, it_may_be_destroyed_by_the_one_who_got_it_last) {
  // The unlocker's last touch comes before the wake.
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto m = std::make_unique<mutex>();
    m->lock();
    auto t = rt().spawn([&] {
      m->lock();
      m->unlock();
      m.reset();
    });
    if (round % 2) {
      ASSERT_TRUE(eventually([&] { return t.state() == task_state::parked; }));
    }
    m->unlock();
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
