#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/recursive_mutex.hpp>

#include <atomic>
#include <mutex>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using recursive_mutex_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, recursive_mutex_test, worker_counts(), name_of);

TEST_P(recursive_mutex_test, its_owner_takes_it_again_and_frees_it_with_the_last_unlock) {
  recursive_mutex m;
  const auto check = [&] {
    std::lock_guard one(m);
    std::unique_lock two(m);
    std::unique_lock three(m, std::try_to_lock);
    std::unique_lock four(m, 1h);
    EXPECT_TRUE(three.owns_lock() && four.owns_lock());
    const auto other = [&] { EXPECT_FALSE(m.try_lock()); };
    std::thread(other).join();
    two.unlock();
    three.unlock();
    four.unlock();
    std::thread(other).join();
  };
  check();
  on_fiber(check);
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

TEST_P(recursive_mutex_test, the_owner_is_the_fiber_wherever_it_runs) {
  recursive_mutex m;
  on_fiber([&] {
    std::lock_guard lock(m);
    std::vector<task<void>> others;
    for (int i = 0; i < 4; ++i)
      others.push_back(spawn([&] {
        EXPECT_FALSE(m.try_lock());
        EXPECT_FALSE(m.try_lock_for(1ms));
        EXPECT_FALSE(m.try_lock_until(clock::now() - 1h));
      }));
    for (int i = 0; i < 50; ++i) {
      this_fiber::yield();
      ASSERT_TRUE(m.try_lock());
    }
    for (int i = 0; i < 50; ++i) m.unlock();
    for (auto& t : others) t.get();
  });
}

TEST_P(recursive_mutex_test, one_at_a_time_among_fibers_and_threads_in_any_mix) {
  recursive_mutex m;
  long plain = 0;
  const int rounds = sanitized ? 100 : 1000;
  in_any_mix(rt(), std::vector<std::function<void()>>(6, [&] {
               for (int i = 0; i < rounds; ++i) {
                 std::lock_guard lock(m);
                 const long seen = plain;
                 if (i % 64 == 0) this_fiber::yield();
                 std::lock_guard again(m);
                 plain = seen + 1;
               }
             }));
  EXPECT_EQ(plain, 6L * rounds);
}

TEST_P(recursive_mutex_test, a_cancelled_waiter_and_a_cancelled_owner_do_not_take_it_along) {
  recursive_mutex m;
  on_fiber([&] {
    m.lock();
    auto doomed = spawn([&] { m.lock(); });
    wait_until_parked(doomed);
    doomed.cancel();
    EXPECT_THROW(doomed.get(), cancelled);
    m.unlock();
    auto owner = spawn([&] {
      std::lock_guard lock(m);
      EXPECT_THROW(
          {
            event nobody_sets;
            nobody_sets.wait();
          },
          cancelled);
      m.lock();  // the request has been thrown
      m.unlock();
    });
    wait_until_parked(owner);
    owner.cancel();
    owner.get();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
    std::atomic<bool> locked{false};
    auto pending = spawn([&] {
      std::lock_guard lock(m);
      locked = true;
      until_cancel_is_pending();
      EXPECT_THROW(m.lock(), cancelled) << "a blocking call though it need not wait";
    });
    while (!locked) this_fiber::yield();
    pending.cancel();
    pending.get();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

}  // namespace
}  // namespace coir::testing
