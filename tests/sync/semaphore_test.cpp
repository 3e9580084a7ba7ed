#include <coir/sched/cancelled.hpp>
#include <coir/sync/counting_semaphore.hpp>

#include <algorithm>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class semaphore_test : public runtime_test {
 protected:
  template <class T>
  static void wait_until_parked(const task<T>& t) {
    while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
  }
};
INSTANTIATE_TEST_SUITE_P(, semaphore_test, every_setting(), name_of);

TEST_P(semaphore_test, permits_are_never_more_than_there_are) {
  counting_semaphore<3> s(3);
  std::atomic<int> inside{0}, most{0};
  const int rounds = sanitized ? 100 : 600;
  const auto work = [&] {
    for (int i = 0; i < rounds; ++i) {
      s.acquire();
      const int now = ++inside;
      int seen = most;
      while (seen < now && !most.compare_exchange_weak(seen, now)) {}
      if (i % 16 == 0) this_fiber::yield();
      --inside;
      s.release();
    }
  };
  std::vector<task<void>> fibers;
  for (int i = 0; i < 8; ++i) fibers.push_back(rt().spawn(work));
  std::thread thread(work);
  for (auto& t : fibers) t.get();
  thread.join();
  EXPECT_LE(most.load(), 3);
  EXPECT_TRUE(s.try_acquire(3)) << "a permit was lost";
  EXPECT_FALSE(s.try_acquire());
}

TEST_P(semaphore_test, waiters_are_served_in_the_order_in_which_they_came) {
  on_fiber([] {
    counting_semaphore<> s(0);
    std::vector<int> order;
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(spawn([&, i] {
        s.acquire();
        order.push_back(i);
      }));
      wait_until_parked(all.back());
    }
    for (auto& t : all) {
      s.release();
      t.get();
    }
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    EXPECT_EQ(order.size(), 20U);
  });
}

TEST_P(semaphore_test, a_big_request_is_not_overtaken) {
  on_fiber([] {
    counting_semaphore<10> s(3);
    auto big = spawn([&] { s.acquire(5); });
    wait_until_parked(big);
    EXPECT_FALSE(s.try_acquire()) << "somebody waits";
    auto small = spawn([&] { s.acquire(1); });
    wait_until_parked(small);
    s.release(1);
    EXPECT_FALSE(small.wait_for(1ms));
    s.release(1);
    big.get();
    EXPECT_FALSE(small.wait_for(1ms)) << "the big one has taken all";
    s.release(2);
    small.get();
    EXPECT_TRUE(s.try_acquire(1));
  });
}

TEST_P(semaphore_test,
       when_a_big_request_is_cancelled_or_gives_up_the_small_ones_behind_it_proceed) {
  on_fiber([] {
    counting_semaphore<10> s(3);
    auto big = spawn([&] { s.acquire(10); });
    wait_until_parked(big);
    std::vector<task<void>> small;
    for (int i = 0; i < 3; ++i) {
      small.push_back(spawn([&] { s.acquire(); }));
      wait_until_parked(small.back());
    }
    big.cancel();
    EXPECT_THROW(big.get(), cancelled);
    for (auto& t : small) EXPECT_TRUE(t.wait_for(5s));
    s.release(3);
    auto impatient = spawn([&] { EXPECT_FALSE(s.try_acquire_for(3ms, 9)); });
    wait_until_parked(impatient);
    auto behind = spawn([&] { s.acquire(2); });
    impatient.get();
    EXPECT_TRUE(behind.wait_for(5s));
    EXPECT_TRUE(s.try_acquire(1));
  });
}

TEST_P(semaphore_test, timed_forms_give_up_in_time) {
  counting_semaphore<2> s(0);
  const auto check = [&] {
    const auto start = clock::now();
    EXPECT_FALSE(s.try_acquire_for(2ms));
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_FALSE(s.try_acquire_until(clock::now() + 1ms));
    EXPECT_FALSE(s.try_acquire_for(-1h));
    s.release();
    EXPECT_TRUE(s.try_acquire_for(0ms)) << "it is there";
  };
  check();
  on_fiber(check);
}

TEST_P(semaphore_test, numbers_of_nothing_and_of_all_are_fine) {
  counting_semaphore<5> s(5);
  s.release(0);
  s.acquire(0);
  EXPECT_TRUE(s.try_acquire(0));
  s.acquire(5);
  EXPECT_FALSE(s.try_acquire());
  s.release(5);
  EXPECT_EQ(s.max(), 5);
  binary_semaphore b(1);
  b.acquire();
  b.release();
}

TEST_P(semaphore_test, a_release_of_many_serves_many) {
  on_fiber([] {
    counting_semaphore<> s(0);
    std::vector<task<void>> all;
    for (int i = 0; i < 10; ++i) {
      all.push_back(spawn([&, i] { s.acquire(i % 3 + 1); }));
      wait_until_parked(all.back());
    }
    s.release(19);
    for (auto& t : all) t.get();
    EXPECT_FALSE(s.try_acquire());
  });
}

TEST_P(semaphore_test, it_may_be_destroyed_by_the_one_who_got_the_last_permit) {
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto s = std::make_unique<counting_semaphore<>>(0);
    auto t = rt().spawn([&] {
      s->acquire();
      s.reset();
    });
    s->release();
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
