#include <coir/sched/cancelled.hpp>
#include <coir/sync/latch.hpp>
#include <coir/sync/mutex.hpp>
#include <coir/sync/shared_mutex.hpp>

#include <algorithm>
#include <mutex>
#include <shared_mutex>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using shared_mutex_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, shared_mutex_test, worker_counts(), name_of);

TEST_P(shared_mutex_test, stds_guards_work_on_fibers_and_threads) {
  shared_mutex m;
  const auto use = [&] {
    { std::lock_guard lock(m); }
    { std::shared_lock lock(m); }
    {
      std::shared_lock one(m);
      std::shared_lock two(m, std::try_to_lock);
      std::shared_lock three(m, 1h);
      std::shared_lock four(m, clock::now() + 1h);
      EXPECT_TRUE(two.owns_lock() && three.owns_lock() && four.owns_lock());
      EXPECT_FALSE(m.try_lock()) << "others read";
    }
    {
      std::unique_lock lock(m, 1h);
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(m.try_lock());
      EXPECT_FALSE(m.try_lock_shared()) << "somebody writes";
    }
  };
  use();
  on_fiber(use);
}

TEST_P(shared_mutex_test, readers_are_inside_together_and_a_writer_alone) {
  shared_mutex m;
  latch all_read(3);
  on_fiber([&] {
    std::vector<task<void>> readers;
    for (int i = 0; i < 3; ++i)
      readers.push_back(spawn([&] {
        std::shared_lock lock(m);
        all_read.arrive_and_wait();
      }));
    for (auto& t : readers) t.get();
  });
  std::atomic<int> reading{0}, writing{0};
  const int rounds = sanitized ? 60 : 500;
  std::vector<std::function<void()>> all;
  for (int i = 0; i < 4; ++i) {
    all.push_back([&] {
      for (int n = 0; n < rounds; ++n) {
        std::shared_lock lock(m);
        ++reading;
        EXPECT_EQ(writing.load(), 0);
        if (n % 8 == 0) this_fiber::yield();
        --reading;
      }
    });
    all.push_back([&] {
      for (int n = 0; n < rounds; ++n) {
        std::lock_guard lock(m);
        EXPECT_EQ(writing.fetch_add(1), 0);
        EXPECT_EQ(reading.load(), 0);
        if (n % 8 == 0) this_fiber::yield();
        --writing;
      }
    });
  }
  std::rotate(all.begin(), all.begin() + 1, all.begin() + 2);
  in_any_mix(rt(), all);
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

TEST_P(shared_mutex_test, they_are_served_in_the_order_in_which_they_came_so_neither_side_starves) {
  on_fiber([&] {
    shared_mutex m;
    std::vector<char> order;
    mutex guard;
    const auto note = [&](char what) {
      std::lock_guard lock(guard);
      order.push_back(what);
    };
    std::vector<task<void>> all;
    m.lock_shared();
    for (const char kind : std::string("wrrwwr")) {
      if (kind == 'w')
        all.push_back(spawn([&] {
          std::lock_guard lock(m);
          note('w');
        }));
      else
        all.push_back(spawn([&] {
          std::shared_lock lock(m);
          note('r');
        }));
      wait_until_parked(all.back());
    }
    EXPECT_FALSE(m.try_lock_shared()) << "a writer waits";
    m.unlock_shared();
    for (auto& t : all) t.get();
    EXPECT_EQ(std::string(order.begin(), order.end()), "wrrwwr");
  });
}

TEST_P(shared_mutex_test, a_writer_that_gives_up_or_is_cancelled_lets_the_readers_behind_it_in) {
  on_fiber([&] {
    shared_mutex m;
    for (const bool cancel : {true, false}) {
      m.lock_shared();
      auto writer = spawn([&] {
        if (cancel)
          m.lock();
        else
          EXPECT_FALSE(m.try_lock_for(2ms));
      });
      wait_until_parked(writer);
      auto reader = spawn([&] {
        m.lock_shared();
        m.unlock_shared();
      });
      wait_until_parked(reader);
      if (cancel) writer.cancel();
      writer.wait();
      EXPECT_TRUE(reader.wait_for(5s)) << "nobody handed it out";
      m.unlock_shared();
      ASSERT_TRUE(m.try_lock());
      m.unlock();
    }
  });
}

TEST_P(shared_mutex_test, a_reader_that_is_cancelled_is_not_counted) {
  on_fiber([&] {
    shared_mutex m;
    m.lock();
    auto first = spawn([&] { m.lock_shared(); });
    auto second = spawn([&] { EXPECT_FALSE(m.try_lock_shared_for(1ms)); });
    auto third = spawn([&] { EXPECT_FALSE(m.try_lock_shared_until(clock::now() + 1ms)); });
    wait_until_parked(first);
    first.cancel();
    first.wait();
    second.get();
    third.get();
    m.unlock();
    ASSERT_TRUE(m.try_lock());
    m.unlock();
  });
}

TEST_P(shared_mutex_test, from_exclusive_to_shared_no_writer_comes_in_between) {
  on_fiber([&] {
    shared_mutex m;
    int value = 0;
    m.lock();
    auto reader = spawn([&] {
      std::shared_lock lock(m);
      return value;
    });
    wait_until_parked(reader);
    auto writer = spawn([&] {
      std::lock_guard lock(m);
      value = 2;
    });
    wait_until_parked(writer);
    value = 1;
    m.unlock_and_lock_shared();
    EXPECT_EQ(reader.get(), 1) << "the readers at the head of the line come along";
    EXPECT_FALSE(writer.wait_for(1ms));
    EXPECT_EQ(value, 1);
    m.unlock_shared();
    writer.get();
    EXPECT_EQ(value, 2);
  });
}

TEST_P(shared_mutex_test, it_may_be_destroyed_by_the_one_who_got_it_last) {
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto m = std::make_unique<shared_mutex>();
    m->lock();
    auto t = rt().spawn([&] {
      m->lock_shared();
      m->unlock_shared();
      m.reset();
    });
    m->unlock();
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
