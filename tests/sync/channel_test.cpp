#include <coir/sched/cancelled.hpp>
#include <coir/sync/channel.hpp>

#include <algorithm>

#include "payloads.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class channel_test : public runtime_test {
 protected:
  // A promise holds for what is moved under the lock and for what is not.
  template <class F>
  void for_both_payloads(F&& f) {
    on_fiber([&] { f(int{}); });
    on_fiber([&] { f(heavy{}); });
    EXPECT_TRUE(eventually([] { return heavy::alive == 0; }))
        << "an item is left, or was destroyed twice";
  }
};
INSTANTIATE_TEST_SUITE_P(, channel_test, every_setting(), name_of);

TEST_P(channel_test, items_come_out_in_the_order_in_which_they_went_in) {
  for_both_payloads([]<class T>(T) {
    for (const std::size_t capacity : {0U, 1U, 3U, 1000U}) {
      channel<T> ch(capacity);
      auto producer = spawn([&] {
        for (int i = 0; i < 500; ++i) ch.push(T(i));
        ch.close();
      });
      int expected = 0;
      for (auto& item : ch) EXPECT_EQ(static_cast<int>(item), expected++);
      EXPECT_EQ(expected, 500);
      producer.get();
    }
  });
}

// F85
TEST_P(channel_test, capacity_none_one_and_more_than_there_is_memory) {
  for_both_payloads([]<class T>(T) {
    channel<T> none;
    EXPECT_EQ(none.capacity(), 0U);
    EXPECT_FALSE(none.try_push(T(1))) << "nobody waits for it";
    channel<T> one(1);
    EXPECT_EQ(one.capacity(), 1U);
    EXPECT_TRUE(one.try_push(T(1)));
    EXPECT_EQ(one.size(), 1U);
    EXPECT_FALSE(one.try_push(T(2)));
    EXPECT_EQ(one.try_pop(), T(1));
    EXPECT_EQ(one.try_pop(), std::nullopt);
    EXPECT_THROW(channel<T>(std::size_t{1} << 62), std::length_error);
    EXPECT_THROW(channel<T>(~std::size_t{0}), std::length_error);
    channel<T> roomy(10'000'000);  // takes address space, and touches none of it
    roomy.push(T(3));
    EXPECT_EQ(roomy.pop(), T(3));
  });
}

TEST_P(channel_test, without_a_buffer_a_push_returns_when_its_item_has_been_popped) {
  for_both_payloads([]<class T>(T) {
    channel<T> ch;
    auto push = spawn([&] { ch.push(T(7)); });
    wait_until_parked(push);
    EXPECT_FALSE(push.done());
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_EQ(ch.try_pop(), T(7)) << "it takes it from who waits";
    push.get();
    auto pop = spawn([&] { return ch.pop(); });
    wait_until_parked(pop);
    EXPECT_TRUE(ch.try_push(T(8))) << "it gives it to who waits";
    EXPECT_EQ(pop.get(), T(8));
  });
}

TEST_P(channel_test, waiters_are_served_in_the_order_in_which_they_came) {
  for_both_payloads([]<class T>(T) {
    for (const std::size_t capacity : {0U, 2U}) {
      channel<T> ch(capacity);
      for (std::size_t i = 0; i < capacity; ++i) ch.push(T(static_cast<int>(i)));
      std::vector<task<void>> pushes;
      for (int i = 0; i < 20; ++i) {
        pushes.push_back(spawn([&, i] { ch.push(T(static_cast<int>(capacity) + i)); }));
        wait_until_parked(pushes.back());
      }
      for (int i = 0; i < 20 + static_cast<int>(capacity); ++i) EXPECT_EQ(ch.pop(), T(i));
      for (auto& t : pushes) t.get();
      std::vector<task<std::optional<T>>> pops;
      for (int i = 0; i < 20; ++i) {
        pops.push_back(spawn([&] { return ch.pop(); }));
        wait_until_parked(pops.back());
      }
      for (int i = 0; i < 20; ++i) EXPECT_TRUE(ch.try_push(T(i)));
      for (int i = 0; i < 20; ++i) EXPECT_EQ(pops[static_cast<std::size_t>(i)].get(), T(i));
    }
  });
}

// F84
TEST_P(channel_test, close_wakes_everybody_and_leaves_what_is_stored) {
  for_both_payloads([]<class T>(T) {
    channel<T> full(2), empty(2), direct;
    full.push(T(1));
    full.push(T(2));
    std::vector<task<void>> pushes;
    for (int i = 0; i < 5; ++i) {
      pushes.push_back(spawn([&] { full.push(T(3)); }));
      pushes.push_back(spawn([&] { direct.push(T(3)); }));
    }
    std::vector<task<std::optional<T>>> pops;
    for (int i = 0; i < 5; ++i) pops.push_back(spawn([&] { return empty.pop(); }));
    for (auto& t : pushes) wait_until_parked(t);
    for (auto& t : pops) wait_until_parked(t);
    for (channel<T>* ch : {&full, &empty, &direct}) {
      EXPECT_FALSE(ch->closed());
      ch->close();
      ch->close();
      EXPECT_TRUE(ch->closed());
    }
    for (auto& t : pushes) EXPECT_THROW(t.get(), channel_closed);
    for (auto& t : pops) EXPECT_EQ(t.get(), std::nullopt);
    EXPECT_FALSE(full.drained());
    EXPECT_TRUE(empty.drained());
    EXPECT_EQ(full.pop(), T(1));
    EXPECT_EQ(full.try_pop(), T(2));
    EXPECT_TRUE(full.drained());
    EXPECT_EQ(full.pop(), std::nullopt);
    EXPECT_EQ(full.try_pop(), std::nullopt);
    EXPECT_EQ(full.pop_for(1h), std::nullopt);
    T item(9);
    EXPECT_THROW(full.push(T(4)), channel_closed);
    EXPECT_THROW(full.try_push(std::move(item)), channel_closed);
    EXPECT_THROW(full.push_for(std::move(item), 1h), channel_closed);
    EXPECT_EQ(static_cast<int>(item), 9) << "it stays with who wanted to push it";
  });
}

TEST_P(channel_test, timed_forms_give_up_in_time_and_leave_the_item) {
  const auto check = []<class T>(T) {
    channel<T> ch(1);
    const auto start = clock::now();
    EXPECT_EQ(ch.pop_for(2ms), std::nullopt);
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_EQ(ch.pop_until(clock::now() + 1ms), std::nullopt);
    EXPECT_FALSE(ch.drained()) << "it was a time-out";
    T first(1), second(2);
    EXPECT_TRUE(ch.push_for(std::move(first), -1h)) << "there is a place";
    EXPECT_FALSE(ch.push_for(std::move(second), 2ms));
    EXPECT_FALSE(ch.push_until(std::move(second), clock::now() + 1ms));
    EXPECT_FALSE(ch.try_push(std::move(second)));
    EXPECT_EQ(static_cast<int>(second), 2);
    const T third(3);
    EXPECT_FALSE(ch.push_for(third, 0ms));
    EXPECT_FALSE(ch.push_until(third, clock::now()));
    EXPECT_FALSE(ch.try_push(third));
    EXPECT_EQ(ch.pop_for(0ms), T(1));
    EXPECT_TRUE(ch.try_push(third));
    EXPECT_EQ(ch.pop_until(clock::time_point::max()), T(3));
  };
  check(int{});
  check(heavy{});
  for_both_payloads(check);
}

TEST_P(channel_test, a_cancelled_wait_takes_nothing_and_gives_nothing) {
  for_both_payloads([]<class T>(T) {
    for (const std::size_t capacity : {0U, 1U}) {
      channel<T> ch(capacity);
      auto pop = spawn([&] { return ch.pop(); });
      auto other = spawn([&] { return ch.pop(); });
      wait_until_parked(pop);
      wait_until_parked(other);
      pop.cancel();
      EXPECT_THROW(pop.get(), cancelled);
      ch.push(T(1));
      EXPECT_EQ(other.get(), T(1));
      for (std::size_t i = 0; i < capacity; ++i) ch.push(T(2));
      T item(5);
      auto push = spawn([&] { ch.push_for(std::move(item), 1h); });
      wait_until_parked(push);
      push.cancel();
      EXPECT_THROW(push.get(), cancelled);
      EXPECT_EQ(static_cast<int>(item), 5);
      EXPECT_EQ(ch.size(), capacity);
    }
  });
}

TEST_P(channel_test, cancellation_strikes_on_entry_but_not_in_what_never_waits) {
  on_fiber([] {
    channel<int> ch(1);
    channel<int> assigned;
    task<void> t = spawn([&] {
      assigned.pop();
      t.cancel();
      EXPECT_TRUE(ch.try_push(1));
      EXPECT_EQ(ch.try_pop(), 1);
      EXPECT_TRUE(this_fiber::cancel_requested());
      EXPECT_THROW(ch.push(1), cancelled);
      EXPECT_EQ(ch.size(), 0U);
      t.cancel();
      EXPECT_THROW(ch.pop_for(1h), cancelled);
      t.cancel();
      EXPECT_THROW(ch.push_for(1, 0ms), cancelled);
    });
    assigned.push(0);
    t.get();
  });
}

TEST_P(channel_test, fibers_and_threads_meet) {
  for (const std::size_t capacity : {0U, 4U}) {
    channel<std::unique_ptr<int>> to_threads(capacity), to_fibers(capacity);
    constexpr int items = 300;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i)
      threads.emplace_back([&] {
        for (auto& item : to_threads) to_fibers.push(std::move(item));
      });
    auto feed = rt().spawn([&] {
      for (int i = 0; i < items; ++i) to_threads.push(std::make_unique<int>(i));
      to_threads.close();
    });
    std::vector<task<std::vector<int>>> readers;
    for (int i = 0; i < 3; ++i)
      readers.push_back(rt().spawn([&] {
        std::vector<int> got;
        for (auto& item : to_fibers) got.push_back(*item);
        return got;
      }));
    for (auto& t : threads) t.join();
    to_fibers.close();
    feed.get();
    std::vector<int> all;
    for (auto& t : readers) {
      const auto got = t.get();
      all.insert(all.end(), got.begin(), got.end());
    }
    std::sort(all.begin(), all.end());
    ASSERT_EQ(all.size(), static_cast<std::size_t>(items));
    for (int i = 0; i < items; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], i);
  }
}

TEST_P(channel_test, what_is_stored_when_it_is_destroyed_is_destroyed) {
  on_fiber([] {
    channel<heavy> ch(10);
    for (int i = 0; i < 7; ++i) ch.push(i);
    ch.pop();
    ch.push(8);
    auto owned = std::make_shared<int>(1);
    {
      channel<std::shared_ptr<int>> shared(3);
      shared.push(owned);
      shared.push(owned);
      EXPECT_EQ(owned.use_count(), 3);
    }
    EXPECT_EQ(owned.use_count(), 1);
  });
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST_P(channel_test, it_may_be_destroyed_by_the_one_who_got_the_last_item) {
  const auto check = [this]<class T>(T, std::size_t capacity) {
    for (int round = 0; round < (sanitized ? 30 : 200); ++round) {
      auto ch = std::make_unique<channel<T>>(capacity);
      channel<T>& in = *ch;
      auto t = rt().spawn([&] {
        EXPECT_EQ(ch->pop(), T(3));
        ch.reset();
      });
      in.push(T(3));
      t.get();
    }
  };
  for (const std::size_t capacity : {0U, 1U}) {
    check(int{}, capacity);
    check(heavy{}, capacity);
  }
}

TEST_P(channel_test, types_of_every_size_and_alignment) {
  struct alignas(64) wide {
    char text[200];
  };
  on_fiber([] {
    channel<wide> ch(3);
    for (char c = 'a'; c < 'd'; ++c) {
      wide w;
      std::fill(std::begin(w.text), std::end(w.text), c);
      EXPECT_TRUE(ch.try_push(std::move(w)));
    }
    for (char c = 'a'; c < 'd'; ++c) {
      const auto w = ch.pop();
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&*w) % 64, 0U);
      EXPECT_TRUE(
          std::all_of(std::begin(w->text), std::end(w->text), [c](char x) { return x == c; }));
    }
    channel<char> small(3);
    small.push('x');
    EXPECT_EQ(small.pop(), 'x');
    channel<std::string> strings(1);
    EXPECT_TRUE(strings.try_push("a literal"));
    EXPECT_EQ(strings.pop(), "a literal");
  });
}

TEST_P(channel_test, a_dump_names_what_a_fiber_waits_for) {
  channel<int> ch;
  auto pop = rt().spawn({.name = "popper"}, [&] { ch.pop(); });
  wait_until_parked(pop);
  bool found = false;
  for (const fiber_info& f : rt().fibers())
    found |= f.name == "popper" && f.waits_for == "channel to pop from";
  EXPECT_TRUE(found);
  ch.close();
  pop.get();
}

// Its moves are blocking calls: nothing that spins may be held meanwhile.
struct sleepy {
  explicit sleepy(int v) : value(v) {}
  sleepy(sleepy&& from) noexcept : value(from.value) { this_fiber::yield(); }
  int value;
};

TEST_P(channel_test, the_move_of_an_item_may_block) {
  on_fiber([] {
    for (const std::size_t capacity : {0U, 1U, 3U}) {
      channel<sleepy> ch(capacity);
      std::vector<task<void>> producers;
      for (int i = 0; i < 3; ++i)
        producers.push_back(spawn([&] {
          for (int n = 1; n <= 20; ++n) ch.push(sleepy(n));
        }));
      std::vector<task<int>> consumers;
      for (int i = 0; i < 3; ++i)
        consumers.push_back(spawn([&] {
          int sum = 0;
          for (auto& item : ch) sum += item.value;
          return sum;
        }));
      for (auto& t : producers) t.get();
      ch.close();
      int sum = 0;
      for (auto& t : consumers) sum += t.get();
      EXPECT_EQ(sum, 3 * 20 * 21 / 2);
    }
  });
}

// --- F87: the move of an item throws. On one worker, where nobody else moves meanwhile.

class channel_throw_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, channel_throw_test, worker_counts(), name_of);

TEST_P(channel_throw_test, a_push_into_the_buffer) {
  on_fiber([] {
    channel<brittle> ch(1);
    brittle item(4);
    brittle::armed = 1;
    EXPECT_THROW(ch.try_push(std::move(item)), std::runtime_error);
    EXPECT_EQ(item.value, 4);
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_TRUE(ch.try_push(std::move(item))) << "the place is free again";
    EXPECT_EQ(ch.pop()->value, 4);
  });
}

TEST_P(channel_throw_test, a_pop_from_the_buffer_leaves_the_item_first_in_line) {
  on_fiber([] {
    channel<brittle> ch(3);
    for (int i = 1; i <= 3; ++i) ch.push(i);
    for (int i = 0; i < 2; ++i) {
      brittle::armed = 1;
      EXPECT_THROW(ch.pop(), std::runtime_error);
      EXPECT_EQ(ch.size(), 3U);
    }
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(ch.pop()->value, i);
    ch.push(4);
    ch.close();
    brittle::armed = 1;
    EXPECT_THROW(ch.pop(), std::runtime_error);
    EXPECT_FALSE(ch.drained());
    EXPECT_EQ(ch.pop()->value, 4);
    EXPECT_TRUE(ch.drained());
  });
}

TEST_P(channel_throw_test, from_hand_to_hand_the_one_that_waits_goes_on_waiting) {
  on_fiber([] {
    channel<brittle> ch;
    auto first = spawn([&] { return ch.pop()->value; });
    wait_until_parked(first);
    auto second = spawn([&] { return ch.pop()->value; });
    wait_until_parked(second);
    brittle::armed = 1;
    EXPECT_THROW(ch.try_push(5), std::runtime_error);
    wait_until_parked(first);
    EXPECT_TRUE(ch.try_push(6));
    EXPECT_EQ(first.get(), 6) << "it has kept its place";
    EXPECT_FALSE(second.done());
    ch.push(7);
    EXPECT_EQ(second.get(), 7);

    brittle item(8);
    auto push = spawn([&] { return ch.push_for(std::move(item), 1h); });
    wait_until_parked(push);
    brittle::armed = 1;
    EXPECT_THROW(ch.pop(), std::runtime_error);
    wait_until_parked(push);
    EXPECT_EQ(ch.pop()->value, 8);
    EXPECT_TRUE(push.get());
  });
}

TEST_P(channel_throw_test,
       a_waiting_push_whose_item_does_not_move_learns_it_and_the_next_has_its_place) {
  on_fiber([] {
    channel<brittle> ch(1);
    ch.push(1);
    brittle first(2), second(3);
    auto failing = spawn([&] { ch.push_for(std::move(first), 1h); });
    wait_until_parked(failing);
    auto good = spawn([&] { ch.push_for(std::move(second), 1h); });
    wait_until_parked(good);
    brittle::armed = 2;  // the pop's own is the first
    EXPECT_EQ(ch.pop()->value, 1);
    EXPECT_THROW(failing.get(), std::runtime_error);
    EXPECT_EQ(first.value, 2);
    good.get();
    EXPECT_EQ(ch.pop()->value, 3);
  });
}

TEST_P(channel_throw_test, a_waiting_pop_that_cannot_take_its_item_leaves_it_for_the_next) {
  on_fiber([] {
    channel<brittle> ch(1);
    brittle::armed = 0;
    auto failing = spawn([&] { ch.pop(); });
    wait_until_parked(failing);
    auto good = spawn([&] { return ch.pop()->value; });
    wait_until_parked(good);
    // The item is handed to the one that waits: the push throws, and both go on waiting.
    brittle::armed = 1;
    EXPECT_THROW(ch.try_push(1), std::runtime_error);
    wait_until_parked(failing);
    ch.push(2);
    failing.get();
    ch.push(3);
    EXPECT_EQ(good.get(), 3);
  });
}

}  // namespace
}  // namespace coir::testing
