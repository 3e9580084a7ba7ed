#include <coir/sched/cancelled.hpp>
#include <coir/sync/condition_variable_any.hpp>
#include <coir/sync/mutex.hpp>
#include <coir/sync/recursive_mutex.hpp>
#include <coir/sync/shared_mutex.hpp>

#include <deque>
#include <mutex>
#include <shared_mutex>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using condition_variable_any_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, condition_variable_any_test, worker_counts(), name_of);

TEST_P(condition_variable_any_test, a_queue_under_any_lock_loses_nothing_in_any_mix) {
  const auto check = [&](auto& m) {
    condition_variable_any changed;
    std::deque<int> queue;
    std::atomic<long> sum{0};
    const int items = sanitized ? 100 : 800;
    std::vector<std::function<void()>> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back([&] {
        for (int n = 1; n <= items; ++n) {
          {
            std::lock_guard lock(m);
            queue.push_back(n);
          }
          changed.notify_one();
        }
      });
      all.push_back([&] {
        for (int n = 0; n < items; ++n) {
          std::unique_lock lock(m);
          changed.wait(lock, [&] { return !queue.empty(); });
          sum += queue.front();
          queue.pop_front();
        }
      });
    }
    std::swap(all[0], all[1]);
    in_any_mix(rt(), all);
    EXPECT_EQ(sum.load(), 3L * items * (items + 1) / 2);
  };
  mutex plain;
  recursive_mutex recursive;
  shared_mutex shared;
  check(plain);
  check(recursive);
  check(shared);
}

TEST_P(condition_variable_any_test, readers_wait_with_a_shared_lock) {
  shared_mutex m;
  condition_variable_any changed;
  bool ready = false;
  on_fiber([&] {
    std::vector<task<void>> readers;
    for (int i = 0; i < 4; ++i)
      readers.push_back(spawn([&] {
        std::shared_lock lock(m);
        changed.wait(lock, [&] { return ready; });
        EXPECT_TRUE(lock.owns_lock());
      }));
    for (auto& t : readers) wait_until_parked(t);
    {
      std::lock_guard lock(m);
      ready = true;
    }
    changed.notify_all();
    for (auto& t : readers) t.get();
  });
}

TEST_P(condition_variable_any_test, timed_waits_tell_a_timeout_from_a_notification) {
  mutex m;
  condition_variable_any changed;
  const auto check = [&] {
    std::unique_lock lock(m);
    const auto start = clock::now();
    EXPECT_EQ(changed.wait_for(lock, 2ms), std::cv_status::timeout);
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(changed.wait_until(lock, clock::now() - 1h), std::cv_status::timeout);
    EXPECT_FALSE(changed.wait_for(lock, 1ms, [] { return false; }));
    EXPECT_TRUE(changed.wait_until(lock, clock::now() + 1h, [] { return true; }));
  };
  on_fiber(check);
  std::thread(check).join();
}

// A lock whose unlock takes long: what comes meanwhile is a notification all the same.
struct slow_lock {
  mutex inner;
  std::function<void()> in_between;
  void lock() { inner.lock(); }
  void unlock() {
    inner.unlock();
    if (in_between) in_between();
  }
};

TEST_P(condition_variable_any_test, a_notification_between_the_unlock_and_the_wait_is_not_lost) {
  on_fiber([&] {
    slow_lock m;
    condition_variable_any changed;
    m.lock();
    m.in_between = [&] { changed.notify_one(); };
    EXPECT_EQ(changed.wait_for(m, 5s), std::cv_status::no_timeout);
    m.in_between = [&] {
      changed.notify_all();
      this_fiber::sleep_for(1ms);
    };
    changed.wait(m);
    m.in_between = nullptr;
    m.unlock();
  });
}

TEST_P(condition_variable_any_test,
       an_unlock_that_throws_leaves_the_line_and_passes_on_what_it_got) {
  on_fiber([&] {
    slow_lock m;
    mutex other;
    condition_variable_any changed;
    auto second = spawn([&] {
      std::unique_lock lock(other);
      changed.wait(lock);
    });
    m.lock();
    m.in_between = [&] {
      wait_until_parked(second);
      changed.notify_one();  // for the first in line, which is about to throw
      throw 5;
    };
    EXPECT_THROW(changed.wait(m), int);
    EXPECT_TRUE(second.wait_for(5s)) << "the notification was lost";
  });
}

TEST_P(condition_variable_any_test, a_cancelled_wait_holds_its_lock_again_though_another_has_it) {
  on_fiber([&] {
    recursive_mutex m;
    condition_variable_any changed;
    bool held_when_thrown = false;
    auto t = spawn([&] {
      std::unique_lock lock(m);
      try {
        changed.wait(lock);
      } catch (const cancelled&) {
        held_when_thrown = lock.owns_lock();
      }
    });
    wait_until_parked(t);
    m.lock();
    t.cancel();
    EXPECT_FALSE(t.wait_for(2ms)) << "it waits for the mutex, and nothing strikes there";
    t.cancel();
    m.unlock();
    t.get();
    EXPECT_TRUE(held_when_thrown);
    EXPECT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(condition_variable_any_test, a_stop_request_ends_the_wait) {
  mutex m;
  condition_variable_any changed;
  const auto check = [&](std::stop_source source) {
    std::unique_lock lock(m);
    EXPECT_FALSE(changed.wait(lock, source.get_token(), [] { return false; }));
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_TRUE(changed.wait(lock, source.get_token(), [] { return true; }));
    EXPECT_FALSE(changed.wait_for(lock, source.get_token(), 1h, [] { return false; }));
    EXPECT_FALSE(
        changed.wait_until(lock, std::stop_token(), clock::now() + 1ms, [] { return false; }));
  };
  for (int i = 0; i < 20; ++i) {
    std::stop_source source;
    in_any_mix(rt(),
               {[&] { check(source); }, [&] { check(source); }, [&] { source.request_stop(); }});
  }
}

TEST_P(condition_variable_any_test, it_may_be_destroyed_once_everybody_has_been_notified) {
  for (int round = 0; round < (sanitized ? 30 : 200); ++round) {
    mutex m;
    auto c = std::make_unique<condition_variable_any>();
    bool ready = false;
    const auto wait = [&, timeout = round % 3] {
      std::unique_lock lock(m);
      while (!ready)
        if (timeout == 0)
          c->wait(lock);
        else
          c->wait_for(lock, 1us * timeout * 20);
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

}  // namespace
}  // namespace coir::testing
