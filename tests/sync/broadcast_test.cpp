#include <coir/sched/cancelled.hpp>
#include <coir/sync/broadcast.hpp>

#include "payloads.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class broadcast_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, broadcast_test, every_setting(), name_of);

TEST_P(broadcast_test, every_receiver_gets_every_item_that_was_pushed_since_it_subscribed) {
  on_fiber([] {
    broadcast<std::string> b(4);
    EXPECT_FALSE(b.push("nobody")) << "there is no receiver";
    auto first = b.subscribe();
    EXPECT_TRUE(b.push("one"));
    auto second = b.subscribe();
    EXPECT_TRUE(b.push("two"));
    EXPECT_EQ(first.pop(), "one");
    EXPECT_EQ(first.pop(), "two");
    EXPECT_EQ(second.pop(), "two");
    EXPECT_EQ(first.try_pop(), std::nullopt);
    EXPECT_EQ(second.pop_for(1ms), std::nullopt);
    EXPECT_EQ(second.pop_until(clock::now()), std::nullopt);
    EXPECT_FALSE(second.drained());
  });
}

TEST_P(broadcast_test, who_is_overtaken_learns_how_many_it_missed_and_goes_on_at_the_oldest) {
  on_fiber([] {
    broadcast<int> b(3);
    auto slow = b.subscribe(), quick = b.subscribe();
    for (int i = 0; i < 10; ++i) {
      b.push(i);
      EXPECT_EQ(quick.pop(), i);
    }
    for (int again = 0; again < 2; ++again) {
      try {
        slow.pop();
        FAIL() << "it was overtaken";
      } catch (const lagged& e) {
        EXPECT_EQ(e.missed(), 7U);
      }
      EXPECT_EQ(slow.pop(), again * 10 + 7);
      EXPECT_EQ(slow.try_pop(), again * 10 + 8);
      EXPECT_EQ(slow.pop(), again * 10 + 9);
      EXPECT_EQ(slow.try_pop(), std::nullopt);
      for (int i = 10; i < 20; ++i) b.push(i);
    }
    b.close();
    EXPECT_FALSE(slow.drained());
    EXPECT_THROW(slow.try_pop(), lagged);
    for (int i = 17; i < 20; ++i) EXPECT_EQ(slow.pop(), i);
    EXPECT_TRUE(slow.drained());
  });
}

TEST_P(broadcast_test, a_push_wakes_all_who_wait_on_fibers_and_threads) {
  broadcast<int> b(2);
  std::vector<task<int>> fibers;
  std::atomic<int> sum{0};
  std::vector<broadcast<int>::receiver> receivers;
  for (int i = 0; i < 12; ++i) receivers.push_back(b.subscribe());
  for (std::size_t i = 0; i < 10; ++i)
    fibers.push_back(rt().spawn([&, i] { return receivers[i].pop().value(); }));
  std::vector<std::thread> threads;
  for (std::size_t i = 10; i < 12; ++i)
    threads.emplace_back([&, i] { sum += receivers[i].pop_for(1h).value(); });
  for (auto& t : fibers) wait_until_parked(t);
  EXPECT_TRUE(b.push(7));
  for (auto& t : fibers) EXPECT_EQ(t.get(), 7);
  for (auto& t : threads) t.join();
  EXPECT_EQ(sum.load(), 14);
}

TEST_P(broadcast_test, close_lets_receivers_have_what_is_kept) {
  on_fiber([] {
    auto b = std::make_unique<broadcast<int>>(4);
    auto receiver = b->subscribe(), waiting = b->subscribe();
    b->push(1);
    auto t = spawn([&] {
      EXPECT_EQ(waiting.pop(), 1);
      return waiting.pop();
    });
    wait_until_parked(t);
    b->close();
    b->close();
    EXPECT_EQ(t.get(), std::nullopt);
    EXPECT_THROW(b->push(2), channel_closed);
    EXPECT_FALSE(receiver.drained());
    b.reset();
    EXPECT_EQ(receiver.pop(), 1) << "it outlives the broadcast";
    EXPECT_EQ(receiver.pop(), std::nullopt);
    EXPECT_EQ(receiver.try_pop(), std::nullopt);
    EXPECT_TRUE(receiver.drained());
  });
}

TEST_P(broadcast_test, receivers_move_and_the_last_one_to_go_ends_the_interest) {
  on_fiber([] {
    broadcast<int> b(4);
    auto first = b.subscribe();
    b.push(1);
    auto moved = std::move(first);
    EXPECT_EQ(moved.pop(), 1);
    EXPECT_THROW(first.pop(), std::future_error);
    {
      auto other = b.subscribe();
      moved = std::move(other);
    }
    EXPECT_TRUE(b.push(2));
    EXPECT_EQ(moved.pop(), 2);
    {
      auto last = std::move(moved);
      EXPECT_TRUE(b.push(3));
    }
    EXPECT_FALSE(b.push(4));
  });
}

TEST_P(broadcast_test, a_cancelled_pop_takes_nothing) {
  on_fiber([] {
    broadcast<int> b(4);
    auto receiver = b.subscribe();
    auto t = spawn([&] { receiver.pop(); });
    wait_until_parked(t);
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    b.push(5);
    EXPECT_EQ(receiver.pop(), 5);
  });
}

TEST_P(broadcast_test, refuses_to_keep_nothing_and_more_than_memory_can_hold) {
  EXPECT_THROW(broadcast<int>(0), std::invalid_argument);
  EXPECT_THROW(broadcast<int>(std::size_t{1} << 62), std::length_error);
}

// F87
TEST_P(broadcast_test, a_copy_that_throws_leaves_the_item_to_be_popped_again) {
  on_fiber([] {
    broadcast<brittle> b(2);
    auto receiver = b.subscribe();
    brittle item(3);
    b.push(item);
    brittle::armed = 1;
    EXPECT_THROW(receiver.pop(), std::runtime_error);
    EXPECT_EQ(receiver.pop()->value, 3);
    brittle::armed = 2;  // the copy into the parameter is the first
    EXPECT_THROW(b.push(item), std::runtime_error);
    brittle::armed = 0;
    EXPECT_EQ(receiver.try_pop().has_value(), false);
  });
}

TEST_P(broadcast_test, items_go_when_they_are_overtaken_or_the_last_user_goes) {
  {
    broadcast<heavy> b(2);
    auto receiver = b.subscribe();
    for (int i = 0; i < 5; ++i) b.push(i);
    EXPECT_EQ(heavy::alive.load(), 2);
  }
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

// --- stress: each receiver gets or misses each item, in order

class broadcast_race : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, broadcast_race, stress_settings(), name_of);

TEST_P(broadcast_race, each_receiver_gets_or_misses_each_item) {
  std::atomic<std::uint64_t> progress{0};
  const watchdog guard(rt(), progress);
  broadcast<int> b(8);
  std::vector<task<void>> receivers;
  std::atomic<std::uint64_t> got{0}, missed{0};
  std::atomic<int> last_pushed{-1};
  const auto follow = [&](std::uint32_t seed, broadcast<int>::receiver from) {
    dice random(seed);
    int next = 0;
    while (!from.drained()) {
      try {
        const auto item = random(2) == 0 ? from.pop() : from.pop_for(std::chrono::microseconds(20));
        if (!item) continue;
        EXPECT_EQ(*item, next);
        ++next;
        ++got;
      } catch (const lagged& e) {
        EXPECT_GT(e.missed(), 0U);
        next += static_cast<int>(e.missed());
        missed += e.missed();
      }
      progress.fetch_add(1, std::memory_order_relaxed);
      if (random(8) == 0) random.spin(3000);
    }
    EXPECT_EQ(next, last_pushed + 1);
  };
  for (std::uint32_t i = 0; i < 4; ++i) {
    auto receiver = std::make_shared<broadcast<int>::receiver>(b.subscribe());
    receivers.push_back(rt().spawn([&, i, receiver] { follow(i, std::move(*receiver)); }));
  }
  std::thread thread([&, r = std::make_shared<broadcast<int>::receiver>(b.subscribe())] {
    follow(9, std::move(*r));
  });
  const auto until = std::chrono::steady_clock::now() + stress_time(300ms);
  dice random(3);
  rt().block_on([&] {
    for (int i = 0; std::chrono::steady_clock::now() < until; ++i) {
      b.push(i);
      last_pushed = i;
      if (random(4) == 0) this_fiber::yield();
      random.spin(200);
    }
    b.close();
  });
  for (auto& t : receivers) t.get();
  thread.join();
  expect_both_win("broadcast", got, missed, "the receiver", "the ring");
}

}  // namespace
}  // namespace coir::testing
