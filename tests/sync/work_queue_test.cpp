#include <coir/sched/cancelled.hpp>
#include <coir/sync/work_queue.hpp>

#include <algorithm>
#include <functional>
#include <string>

#include "payloads.hpp"
#include "race.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class work_queue_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, work_queue_test, every_setting(), name_of);

TEST_P(work_queue_test, gives_the_oldest_the_newest_or_the_least_first) {
  on_fiber([] {
    work_queue<int> oldest;
    work_queue<int, lifo> newest;
    work_queue<int, by<std::less<>>> least;
    work_queue<int, by<std::greater<>>> greatest;
    for (const int item : {3, 1, 2}) {
      oldest.put(item);
      newest.put(item);
      least.put(item);
      greatest.put(item);
    }
    for (const int item : {3, 1, 2}) EXPECT_EQ(oldest.get(), item);
    for (const int item : {2, 1, 3}) EXPECT_EQ(newest.get(), item);
    for (const int item : {1, 2, 3}) EXPECT_EQ(least.get(), item);
    for (const int item : {3, 2, 1}) EXPECT_EQ(greatest.get(), item);
  });
}

TEST_P(work_queue_test, equals_keep_their_order) {
  using job = std::pair<int, std::string>;
  struct by_rank {
    bool operator()(const job& a, const job& b) const { return a.first < b.first; }
  };
  on_fiber([] {
    work_queue<job, by<by_rank>> q;
    for (const char* name : {"a", "b", "c"}) {
      q.put({2, name});
      q.put({1, name});
    }
    for (const int rank : {1, 2})
      for (const char* name : {"a", "b", "c"}) EXPECT_EQ(q.get(), job(rank, name));
  });
}

TEST_P(work_queue_test, a_bound_makes_puts_wait_and_none_does_not) {
  on_fiber([] {
    work_queue<std::unique_ptr<int>> q(2), unbounded;
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(unbounded.try_put(std::make_unique<int>(i)));
    EXPECT_EQ(unbounded.size(), 1000U);
    q.put(std::make_unique<int>(1));
    EXPECT_TRUE(q.try_put(std::make_unique<int>(2)));
    auto item = std::make_unique<int>(3);
    EXPECT_FALSE(q.try_put(std::move(item)));
    EXPECT_FALSE(q.put_for(std::move(item), 1ms));
    EXPECT_FALSE(q.put_until(std::move(item), clock::now()));
    ASSERT_NE(item, nullptr) << "it stays with who wanted to put it";
    std::vector<task<void>> puts;
    for (int i = 3; i < 8; ++i) {
      puts.push_back(spawn([&q, i] { q.put(std::make_unique<int>(i)); }));
      wait_until_parked(puts.back());
    }
    for (int i = 1; i < 8; ++i) EXPECT_EQ(*q.get(), i) << "first come, first served";
    for (auto& t : puts) t.get();
    EXPECT_EQ(q.try_get(), std::nullopt);
    EXPECT_EQ(q.get_for(1ms), std::nullopt);
    EXPECT_EQ(q.get_until(clock::now()), std::nullopt);
  });
}

TEST_P(work_queue_test, waiting_gets_are_served_in_their_order_whatever_the_order_of_items) {
  on_fiber([] {
    work_queue<int, lifo> q;
    std::vector<task<int>> gets;
    for (int i = 0; i < 10; ++i) {
      gets.push_back(spawn([&] { return q.get(); }));
      wait_until_parked(gets.back());
    }
    for (int i = 0; i < 10; ++i) {
      q.put(i);
      EXPECT_EQ(gets[static_cast<std::size_t>(i)].get(), i);
    }
  });
}

TEST_P(work_queue_test, a_cancelled_put_or_get_leaves_everything_as_it_was) {
  on_fiber([] {
    work_queue<heavy> q(1);
    auto get = spawn([&] { return static_cast<int>(q.get()); });
    auto other = spawn([&] { return static_cast<int>(q.get()); });
    wait_until_parked(get);
    wait_until_parked(other);
    get.cancel();
    EXPECT_THROW(get.get(), cancelled);
    q.put(1);
    EXPECT_EQ(other.get(), 1);
    q.put(2);
    heavy item(3);
    auto put = spawn([&] { q.put_for(std::move(item), 1h); });
    wait_until_parked(put);
    put.cancel();
    EXPECT_THROW(put.get(), cancelled);
    EXPECT_EQ(static_cast<int>(item), 3);
    EXPECT_EQ(static_cast<int>(q.get()), 2);
    EXPECT_EQ(q.size(), 0U);
  });
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST_P(work_queue_test, join_waits_until_each_item_is_said_to_be_done) {
  on_fiber([] {
    work_queue<int> q;
    q.join();
    std::atomic<int> done{0};
    std::vector<task<void>> workers;
    for (int i = 0; i < 3; ++i)
      workers.push_back(spawn([&] {
        try {
          for (;;) {
            q.get();
            this_fiber::yield();
            ++done;
            q.task_done();
          }
        } catch (const channel_closed&) {}
      }));
    for (int round = 1; round <= 3; ++round) {
      for (int i = 0; i < 20; ++i) q.put(i);
      q.join();
      EXPECT_EQ(done.load(), 20 * round);
    }
    q.shutdown();
    for (auto& w : workers) w.get();
    work_queue<int> forgotten;
    forgotten.put(1);
    EXPECT_EQ(forgotten.get(), 1);
    EXPECT_FALSE(forgotten.join_for(1ms)) << "got, but not done";
    EXPECT_FALSE(forgotten.join_until(clock::now()));
    forgotten.task_done();
    EXPECT_TRUE(forgotten.join_for(1h));
  });
}

TEST_P(work_queue_test, shutdown_refuses_puts_and_lets_gets_empty_it) {
  on_fiber([] {
    work_queue<heavy> full(1), empty;
    full.put(1);
    auto put = spawn([&] { full.put(2); });
    auto get = spawn([&] { return static_cast<int>(empty.get()); });
    wait_until_parked(put);
    wait_until_parked(get);
    full.shutdown();
    full.shutdown();
    empty.shutdown();
    EXPECT_THROW(put.get(), channel_closed);
    EXPECT_THROW(get.get(), channel_closed);
    heavy item(3);
    EXPECT_THROW(full.try_put(std::move(item)), channel_closed);
    EXPECT_THROW(full.put_for(std::move(item), 1h), channel_closed);
    EXPECT_EQ(static_cast<int>(item), 3);
    EXPECT_EQ(static_cast<int>(full.get()), 1);
    EXPECT_THROW(full.get(), channel_closed);
    EXPECT_THROW(full.try_get(), channel_closed);
    EXPECT_THROW(full.get_for(1h), channel_closed);
    EXPECT_FALSE(full.join_for(0ms));
    full.task_done();
    full.join();
  });
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST_P(work_queue_test, immediate_shutdown_drops_what_is_in_it_and_counts_it_as_done) {
  on_fiber([] {
    work_queue<heavy> q;
    for (int i = 0; i < 10; ++i) q.put(i);
    EXPECT_EQ(static_cast<int>(q.get()), 0);
    auto join = spawn([&] { q.join(); });
    wait_until_parked(join);
    q.shutdown(true);
    EXPECT_TRUE(eventually([] { return heavy::alive == 0; })) << "dropped at once";
    EXPECT_EQ(q.size(), 0U);
    EXPECT_THROW(q.get(), channel_closed);
    EXPECT_FALSE(join.done()) << "one was got and is not done";
    q.task_done();
    join.get();
    q.shutdown(true);
  });
}

// Its move waits until it may go on.
struct held_back {
  explicit held_back(event& e) : go_on(e) {}
  held_back(held_back&& from) : go_on(from.go_on) { go_on.wait(); }
  event& go_on;
};

TEST_P(work_queue_test, what_is_being_put_at_an_immediate_shutdown_is_dropped_too) {
  on_fiber([] {
    event go_on;
    work_queue<held_back> q(2);
    held_back item(go_on);
    auto put = spawn([&] { EXPECT_TRUE(q.try_put(std::move(item))); });
    wait_until_parked(put);
    auto get = spawn([&] { q.get(); });
    wait_until_parked(get);
    q.shutdown(true);
    EXPECT_FALSE(get.done()) << "an item may still come back";
    go_on.set();
    put.get();
    EXPECT_THROW(get.get(), channel_closed);
    EXPECT_EQ(q.size(), 0U);
    EXPECT_THROW(q.try_get(), channel_closed);
    q.join();
  });
}

// F87: a comparison that throws, a move that throws.
TEST_P(work_queue_test, what_throws_leaves_the_queue_as_it_was) {
  static bool refuses;
  refuses = false;
  struct picky {
    bool operator()(int a, int b) const {
      if (refuses) throw std::runtime_error("a comparison");
      return a < b;
    }
  };
  on_fiber([] {
    work_queue<int, by<picky>> q(3);
    q.put(2);
    q.put(1);
    refuses = true;
    for (int i = 0; i < 5; ++i) EXPECT_THROW(q.put(3), std::runtime_error);
    EXPECT_EQ(q.get(), 1) << "a get compares nothing";
    refuses = false;
    q.put(0);
    q.put(5);
    EXPECT_FALSE(q.try_put(6)) << "three places, no more";
    for (const int item : {0, 2, 5}) EXPECT_EQ(q.get(), item);

    work_queue<brittle> b(1);
    brittle item(4);
    brittle::armed = 1;
    EXPECT_THROW(b.try_put(std::move(item)), std::runtime_error);
    EXPECT_EQ(item.value, 4);
    EXPECT_TRUE(b.try_put(std::move(item)));
    brittle::armed = 1;
    EXPECT_THROW(b.get(), std::runtime_error);
    brittle::armed = 1;
    EXPECT_THROW(b.try_get(), std::runtime_error);
    EXPECT_EQ(b.size(), 1U);
    // The item of one that waits is stored by the get that makes its place; it is told.
    brittle second(5);
    auto put = spawn([&] { b.put_for(std::move(second), 1h); });
    wait_until_parked(put);
    brittle third(6);
    auto next = spawn([&] { b.put_for(std::move(third), 1h); });
    wait_until_parked(next);
    brittle::armed = 2;
    EXPECT_EQ(b.get().value, 4);
    EXPECT_THROW(put.get(), std::runtime_error);
    EXPECT_EQ(second.value, 5);
    next.get();
    EXPECT_EQ(b.get().value, 6);
  });
}

TEST_P(work_queue_test, fibers_and_threads_lose_no_item) {
  work_queue<heavy> q(3);
  constexpr int items = 300;
  std::atomic<int> sum{0};
  const auto work = [&] {
    try {
      for (;;) {
        sum += q.get();
        q.task_done();
      }
    } catch (const channel_closed&) {}
  };
  const auto feed = [&](int first) {
    for (int i = first; i < items; i += 3) q.put(i);
  };
  std::vector<task<void>> fibers;
  std::thread worker(work);
  for (int i = 0; i < 3; ++i) fibers.push_back(rt().spawn(work));
  std::thread feeder([&] { feed(2); });
  auto first = rt().spawn([&] { feed(0); });
  auto second = rt().spawn([&] { feed(1); });
  first.get();
  second.get();
  feeder.join();
  q.join();
  EXPECT_EQ(sum.load(), items * (items - 1) / 2);
  q.shutdown();
  for (auto& t : fibers) t.get();
  worker.join();
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

// --- random, against a sequential model

template <class Order, class Next>
void against_model(std::uint32_t seed, Next next) {
  dice random(seed);
  const std::size_t bound = random(2) * 5;
  work_queue<int, Order> q(bound);
  std::vector<int> model;
  std::size_t unfinished = 0;
  for (int step = 0; step < 500; ++step) {
    if (random(2) == 0) {
      const int item = static_cast<int>(random(50));
      const bool possible = bound == 0 || model.size() < bound;
      ASSERT_EQ(q.try_put(int{item}), possible);
      if (possible) model.push_back(item), ++unfinished;
    } else {
      const auto got = q.try_get();
      ASSERT_EQ(got.has_value(), !model.empty());
      if (!got) continue;
      const auto expected = next(model);
      ASSERT_EQ(*got, *expected);
      model.erase(expected);
      q.task_done();
      --unfinished;
    }
    ASSERT_EQ(q.size(), model.size());
    ASSERT_EQ(q.join_for(-1ms), unfinished == 0);
  }
}

TEST(work_queue_against_model, random_steps_do_what_a_vector_does) {
  for (std::uint32_t seed = 1; seed <= 10; ++seed) {
    against_model<fifo>(seed, [](auto& m) { return m.begin(); });
    against_model<lifo>(seed, [](auto& m) { return m.end() - 1; });
    against_model<by<std::less<>>>(seed,
                                   [](auto& m) { return std::min_element(m.begin(), m.end()); });
  }
}

// --- stress: shutdown and cancellation at any moment

class work_queue_race : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, work_queue_race, stress_settings(), name_of);

TEST_P(work_queue_race, cancelling_a_get_loses_no_item) {
  std::atomic<std::uint64_t> progress{0};
  work_queue<heavy> q(2);
  std::atomic<int> given{0};
  int got = 0;
  race(
      rt(), "get", progress, [&] { got += q.get(); }, [&] { given += q.try_put(1); },
      [&](bool) {
        while (auto item = q.try_get()) got += *item;
        ASSERT_EQ(got, given.load()) << "an item was lost or made";
      });
}

TEST_P(work_queue_race, cancelling_a_put_loses_neither_item_nor_place) {
  std::atomic<std::uint64_t> progress{0};
  work_queue<heavy> q(1);
  std::atomic<int> taken{0};
  int accepted = 0;
  heavy item(1);
  race(
      rt(), "put", progress,
      [&] {
        accepted += q.try_put(1);
        q.put_for(std::move(item), 1h);
        ++accepted;
        item = heavy(1);
      },
      [&] { taken += q.try_get().has_value(); },
      [&](bool) {
        ASSERT_EQ(static_cast<int>(item), 1) << "a cancelled put has moved its item";
        while (q.try_get()) ++taken;
        ASSERT_EQ(accepted, taken.load()) << "an item was lost or made";
        ASSERT_TRUE(q.try_put(1)) << "a place was lost";
        ASSERT_FALSE(q.try_put(1)) << "a place was made";
        q.get();
      });
}

TEST_P(work_queue_race, shutdown_and_cancellation_at_any_moment_lose_no_item) {
  std::atomic<std::uint64_t> progress{0};
  const watchdog guard(rt(), progress);
  std::uint64_t stopped = 0, shut = 0;
  const auto until = std::chrono::steady_clock::now() + stress_time(500ms);
  for (std::uint32_t round = 1; std::chrono::steady_clock::now() < until; ++round) {
    dice random(round);
    const bool immediate = round % 2 == 0;
    work_queue<heavy> q(1 + round % 3);
    std::atomic<int> put{0}, got{0};
    std::vector<task<void>> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(rt().spawn([&] {
        try {
          for (;;) {
            q.put(1);
            ++put;
          }
        } catch (const channel_closed&) {}
      }));
      all.push_back(rt().spawn([&] {
        try {
          for (;;) {
            q.get();
            ++got;
            q.task_done();
          }
        } catch (const channel_closed&) {}
      }));
    }
    random.spin(2000);
    all[random(6)].cancel();
    random.spin(2000);
    q.shutdown(immediate);
    for (auto& t : all) {
      t.wait();
      (t.cancelled() ? stopped : shut) += 1;
      t.error();
    }
    if (!immediate)
      while (q.size() != 0) {  // the gets may all have been stopped
        q.get();
        ++got;
        q.task_done();
      }
    q.join();
    ASSERT_EQ(q.size(), 0U);
    if (immediate)
      ASSERT_LE(got.load(), put.load());
    else
      ASSERT_EQ(got.load(), put.load()) << "an item was lost or made";
    ASSERT_TRUE(eventually([] { return heavy::alive == 0; }));
    progress.fetch_add(1, std::memory_order_relaxed);
  }
  expect_both_win("work_queue", stopped, shut, "cancellation", "shutdown");
}

}  // namespace
}  // namespace coir::testing
