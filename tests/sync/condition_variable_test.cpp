#include <coir/sched/cancelled.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/event.hpp>

#include <algorithm>
#include <deque>
#include <mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class condition_variable_test : public runtime_test {
 protected:
  template <class T>
  static void wait_until_parked(const task<T>& t) {
    while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
  }
  mutex m;
  condition_variable changed;
};
INSTANTIATE_TEST_SUITE_P(, condition_variable_test, every_setting(), name_of);

TEST_P(condition_variable_test, a_queue_between_fibers_and_threads_loses_nothing) {
  std::deque<int> queue;
  std::atomic<long> sum{0};
  const int items = sanitized ? 300 : 3000;
  const auto produce = [&] {
    for (int i = 1; i <= items; ++i) {
      std::lock_guard lock(m);
      queue.push_back(i);
      changed.notify_one();
    }
  };
  const auto consume = [&] {
    for (int i = 0; i < items; ++i) {
      std::unique_lock lock(m);
      changed.wait(lock, [&] { return !queue.empty(); });
      sum += queue.front();
      queue.pop_front();
    }
  };
  std::vector<task<void>> fibers;
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(rt().spawn(produce));
    fibers.push_back(rt().spawn(consume));
  }
  std::thread producer(produce), consumer(consume);
  for (auto& t : fibers) t.get();
  producer.join();
  consumer.join();
  EXPECT_EQ(sum.load(), 4L * items * (items + 1) / 2);
  EXPECT_TRUE(queue.empty());
}

TEST_P(condition_variable_test, who_notifies_as_soon_as_the_mutex_is_free_finds_the_waiter) {
  for (int round = 0; round < 20; ++round)
    on_fiber([&] {
      std::unique_lock held(m);
      auto notifier = spawn([&] {
        const std::lock_guard guard(m);
        changed.notify_one();
      });
      while (notifier.state() != task_state::parked) this_fiber::yield();
      EXPECT_EQ(changed.wait_for(held, 5s), std::cv_status::no_timeout)
          << "the notification is lost";
      held.unlock();
      notifier.get();
    });
}

TEST_P(condition_variable_test, waiters_are_served_in_the_order_in_which_they_came) {
  std::vector<int> order;
  on_fiber([&] {
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(spawn([&, i] {
        std::unique_lock lock(m);
        changed.wait(lock);
        order.push_back(i);
      }));
      wait_until_parked(all.back());
    }
    for (int i = 0; i < 20; ++i) {
      changed.notify_one();
      all[std::size_t(i)].get();
    }
  });
  ASSERT_EQ(order.size(), 20U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(condition_variable_test, notify_all_wakes_every_waiter_and_nobody_who_comes_later) {
  on_fiber([&] {
    int waiting = 0;
    std::atomic<int> woken{0};
    const auto wait = [&] {
      std::unique_lock lock(m);
      ++waiting;
      changed.wait(lock);
      EXPECT_TRUE(lock.owns_lock());
      ++woken;
    };
    const auto until_waiting = [&](int number) {  // one that is parked may wait for the mutex
      for (;; this_fiber::yield()) {
        const std::lock_guard lock(m);
        if (waiting == number) return;
      }
    };
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i) all.push_back(spawn(wait));
    until_waiting(20);
    changed.notify_all();
    for (auto& t : all) t.get();
    EXPECT_EQ(woken.load(), 20);
    auto late = spawn(wait);
    EXPECT_FALSE(late.wait_for(2ms)) << "a notification is not stored";
    until_waiting(21);
    changed.notify_one();
    late.get();
  });
}

TEST_P(condition_variable_test, timed_waits_tell_a_timeout_from_a_notification) {
  const auto check = [&] {
    std::unique_lock lock(m);
    const auto start = clock::now();
    EXPECT_EQ(changed.wait_for(lock, 2ms), std::cv_status::timeout);
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(changed.wait_until(lock, clock::now() - 1h), std::cv_status::timeout);
    EXPECT_FALSE(changed.wait_for(lock, 1ms, [] { return false; }));
    EXPECT_TRUE(changed.wait_for(lock, 1h, [] { return true; }));
    EXPECT_TRUE(changed.wait_until(lock, clock::now() + 1h, [] { return true; }));
  };
  on_fiber(check);
  std::thread(check).join();
  on_fiber([&] {
    auto t = spawn([&] {
      std::unique_lock lock(m);
      return changed.wait_for(lock, std::chrono::hours::max());
    });
    wait_until_parked(t);
    changed.notify_one();
    EXPECT_EQ(t.get(), std::cv_status::no_timeout);
  });
}

TEST_P(condition_variable_test, a_cancelled_wait_holds_its_lock_again_though_another_has_it) {
  on_fiber([&] {
    bool held_when_thrown = false;
    auto t = spawn([&] {
      std::unique_lock lock(m);
      try {
        changed.wait(lock);
      } catch (const cancelled&) {
        held_when_thrown = lock.owns_lock() && !m.try_lock();
      }
    });
    wait_until_parked(t);
    m.lock();
    t.cancel();
    EXPECT_FALSE(t.wait_for(2ms)) << "it waits for the mutex, and nothing strikes there";
    m.unlock();
    t.get();
    EXPECT_TRUE(held_when_thrown);
    EXPECT_TRUE(m.try_lock()) << "and let go of it";
    m.unlock();
  });
}

TEST_P(condition_variable_test, a_cancelled_waiter_takes_no_notification_along) {
  on_fiber([&] {
    for (int round = 0; round < 50; ++round) {
      int items = 0;
      const auto take = [&] {
        std::unique_lock lock(m);
        changed.wait(lock, [&] { return items != 0; });
        --items;
      };
      auto doomed = spawn(take);
      wait_until_parked(doomed);
      auto second = spawn(take);
      wait_until_parked(second);
      // In either order the one that is left gets it: a waiter that was notified first keeps its
      // notification.
      if (round % 2) doomed.cancel();
      {
        std::lock_guard lock(m);
        ++items;
      }
      changed.notify_one();
      if (round % 2 == 0) doomed.cancel();
      doomed.wait();
      if (doomed.cancelled()) {
        if (!second.wait_for(0ms))
          changed.notify_one();  // the doomed one had been notified and threw later
        EXPECT_TRUE(second.wait_for(5s)) << "a notification was lost";
      }
      second.cancel();
    }
  });
}

TEST_P(condition_variable_test, it_may_be_destroyed_once_everybody_has_been_notified) {
  for (int round = 0; round < (sanitized ? 30 : 200); ++round) {
    auto c = std::make_unique<condition_variable>();
    bool ready = false;
    auto t = rt().spawn([&] {
      std::unique_lock lock(m);
      c->wait(lock, [&] { return ready; });
      c.reset();
    });
    {
      std::lock_guard lock(m);
      ready = true;
      c->notify_all();
    }
    t.get();
  }
}

TEST_P(condition_variable_test, it_may_be_destroyed_while_one_that_timed_out_is_on_its_way_out) {
  // Who timed out waits for the mutex to come back, and must not look at the object on the way.
  for (int round = 0; round < (sanitized ? 60 : 400); ++round) {
    auto c = std::make_unique<condition_variable>();
    bool ready = false;
    const auto wait = [&, d = 1us * (round % 60)] {
      std::unique_lock lock(m);
      while (!ready) c->wait_for(lock, d);
    };
    auto one = rt().spawn(wait);
    auto two = rt().spawn(wait);
    {
      std::lock_guard lock(m);
      ready = true;
      c->notify_all();
    }
    c.reset();
    one.get();
    two.get();
  }
}

TEST_P(condition_variable_test, the_one_who_gets_the_mutex_is_woken_by_who_begins_to_wait) {
  on_fiber([&] {
    int turn = 0;
    std::vector<task<void>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(spawn([&, i] {
        std::unique_lock lock(m);
        while (turn < 40) {
          if (turn % 4 == i) {
            ++turn;
            changed.notify_all();
          } else {
            changed.wait(lock);
          }
        }
      }));
    for (auto& t : all) t.get();
    EXPECT_EQ(turn, 40);
  });
}

}  // namespace
}  // namespace coir::testing
