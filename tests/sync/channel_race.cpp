// Channels and select under fibers and threads at once, with cancellation and time-outs: each item
// that was accepted comes out once, each other one stays with its owner, and nobody waits for ever.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/select.hpp>

#include "payloads.hpp"
#include "race.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class channel_race : public runtime_test {
 protected:
  std::atomic<std::uint64_t> progress{0};
};
INSTANTIATE_TEST_SUITE_P(, channel_race, stress_settings(), name_of);

// --- many producers and consumers; each consumer sees the items of each producer in their order

constexpr int producers = 6, consumers = 5;

constexpr int item_of(int producer, int number) { return number * producers + producer; }

template <class T>
struct crowd {
  channel<T> a, b;
  std::atomic<std::uint64_t> pushed{0}, popped{0}, sum_pushed{0}, sum_popped{0};
  std::atomic<std::uint64_t> refused{0}, timed_out{0}, selected{0};
  std::atomic<std::uint64_t>& progress;
  std::chrono::steady_clock::time_point until;

  crowd(std::size_t capacity, std::atomic<std::uint64_t>& p)
      : a(capacity),
        b(capacity),
        progress(p),
        until(std::chrono::steady_clock::now() + stress_time(250ms)) {}

  void accepted(int item) {
    ++pushed;
    sum_pushed += static_cast<std::uint64_t>(item);
    progress.fetch_add(1, std::memory_order_relaxed);
  }

  void produce(int me) {
    dice random(static_cast<std::uint32_t>(me) + 1);
    for (int n = 1; std::chrono::steady_clock::now() < until; ++n) {
      T item(item_of(me, n));
      bool taken = true;
      switch (random(5)) {
        case 0:
          a.push(std::move(item));
          break;
        case 1:
          taken = a.try_push(std::move(item));
          refused += !taken;
          break;
        case 2:
          taken = b.push_for(std::move(item), std::chrono::microseconds(random(30)));
          timed_out += !taken;
          break;
        case 3:
          taken = select(on_push(a, std::move(item), [] {}), on_push(b, item_of(me, n), [] {})) < 2;
          ++selected;
          break;
        case 4:
          taken = select(on_push(b, std::move(item), [] {}),
                         on_timeout(std::chrono::microseconds(random(30)), [] {})) == 0;
          timed_out += !taken;
          break;
      }
      if (taken)
        accepted(item_of(me, n));
      else
        EXPECT_EQ(static_cast<int>(item), item_of(me, n)) << "it was moved from";
    }
  }

  void consume(int me) {
    dice random(static_cast<std::uint32_t>(me) + 100);
    std::array<std::array<int, producers>, 2> last{};
    const auto got = [&](std::size_t from, std::optional<T> item) {
      if (!item) return;
      const int value = *item, producer = value % producers;
      int& before = last[from][static_cast<std::size_t>(producer)];
      EXPECT_LT(before, value) << "one producer's items changed their order";
      before = value;
      ++popped;
      sum_popped += static_cast<std::uint64_t>(value);
      progress.fetch_add(1, std::memory_order_relaxed);
    };
    while (!a.drained() || !b.drained()) {
      switch (random(4)) {
        case 0:
          got(0, a.pop_for(std::chrono::microseconds(random(50))));
          break;
        case 1:
          got(1, b.try_pop());
          break;
        default:
          select(on_pop(a, [&](std::optional<T> v) { got(0, std::move(v)); }),
                 on_pop(b, [&](std::optional<T> v) { got(1, std::move(v)); }));
      }
    }
  }
};

template <class T>
void run_crowd(runtime& rt, std::size_t capacity, std::atomic<std::uint64_t>& progress) {
  crowd<T> c(capacity, progress);
  std::vector<task<void>> making, taking;
  std::vector<std::thread> making_threads, taking_threads;
  for (int i = 0; i < producers; ++i)
    if (i < 2)
      making_threads.emplace_back([&c, i] { c.produce(i); });
    else
      making.push_back(rt.spawn([&c, i] { c.produce(i); }));
  for (int i = 0; i < consumers; ++i)
    if (i < 2)
      taking_threads.emplace_back([&c, i] { c.consume(i); });
    else
      taking.push_back(rt.spawn([&c, i] { c.consume(i); }));
  for (auto& t : making) t.get();
  for (auto& t : making_threads) t.join();
  c.a.close();
  c.b.close();
  for (auto& t : taking) t.get();
  for (auto& t : taking_threads) t.join();
  EXPECT_EQ(c.pushed.load(), c.popped.load()) << "an item was lost or made";
  EXPECT_EQ(c.sum_pushed.load(), c.sum_popped.load());
  std::printf(
      "capacity %zu: %llu items, %llu by select; %llu refused, %llu timed out\n", capacity,
      static_cast<unsigned long long>(c.pushed), static_cast<unsigned long long>(c.selected),
      static_cast<unsigned long long>(c.refused), static_cast<unsigned long long>(c.timed_out));
}

TEST_P(channel_race, fibers_and_threads_push_and_pop_in_every_way) {
  const watchdog guard(rt(), progress);
  for (const std::size_t capacity : {0U, 1U, 16U}) {
    run_crowd<int>(rt(), capacity, progress);
    run_crowd<heavy>(rt(), capacity, progress);
    EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
  }
}

// --- cancellation against the other side (F24 with a second one who would serve)

template <class T>
void race_pop(runtime& rt, std::size_t capacity, std::atomic<std::uint64_t>& progress) {
  channel<T> ch(capacity), unused;
  std::atomic<int> given{0};
  int got = 0;
  race(
      rt, capacity == 0 ? "pop, capacity 0" : "pop, capacity 2", progress,
      [&] {
        if (static_cast<std::uint64_t>(got) % 2 == 0)
          got += ch.pop().has_value();
        else
          select(on_pop(ch, [&](std::optional<T> v) { got += v.has_value(); }),
                 on_push(unused, 1, [] {}));
      },
      [&] { given += ch.try_push(T(1)); },
      [&](bool) {
        while (ch.try_pop()) ++got;
        ASSERT_EQ(got, given.load()) << "an item was lost or made";
      });
}

template <class T>
void race_push(runtime& rt, std::size_t capacity, std::atomic<std::uint64_t>& progress) {
  channel<T> ch(capacity);
  std::atomic<int> taken{0};
  int accepted = 0;
  T item(1);
  race(
      rt, capacity == 0 ? "push, capacity 0" : "push, capacity 2", progress,
      [&] {
        for (std::size_t i = 0; i < capacity; ++i) accepted += ch.try_push(T(1));
        ch.push_for(std::move(item), 1h);
        ++accepted;
        item = T(1);
      },
      [&] { taken += ch.try_pop().has_value(); },
      [&](bool) {
        ASSERT_EQ(static_cast<int>(item), 1) << "a cancelled push has moved its item";
        while (ch.try_pop()) ++taken;
        ASSERT_EQ(accepted, taken.load()) << "an item was lost or made";
      });
}

TEST_P(channel_race, cancelling_a_pop_loses_no_item) {
  for (const std::size_t capacity : {0U, 2U}) {
    race_pop<int>(rt(), capacity, progress);
    race_pop<heavy>(rt(), capacity, progress);
  }
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST_P(channel_race, cancelling_a_push_loses_no_item) {
  for (const std::size_t capacity : {0U, 2U}) {
    race_push<int>(rt(), capacity, progress);
    race_push<heavy>(rt(), capacity, progress);
  }
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

// --- close against everybody

TEST_P(channel_race, close_ends_every_wait_and_loses_no_item) {
  const watchdog guard(rt(), progress);
  const auto until = std::chrono::steady_clock::now() + stress_time(250ms);
  for (std::uint32_t round = 1; std::chrono::steady_clock::now() < until; ++round) {
    dice random(round);
    channel<heavy> ch(round % 3);
    std::atomic<int> pushed{0}, popped{0};
    std::vector<task<void>> all;
    for (int i = 0; i < 4; ++i) {
      all.push_back(rt().spawn([&] {
        try {
          for (;;) {
            ch.push(1);
            ++pushed;
          }
        } catch (const channel_closed&) {}
      }));
      all.push_back(rt().spawn([&] {
        for ([[maybe_unused]] auto& item : ch) ++popped;
        EXPECT_TRUE(ch.drained());
        EXPECT_EQ(ch.try_pop(), std::nullopt);
      }));
    }
    random.spin(3000);
    ch.close();
    for (auto& t : all) t.get();
    ASSERT_EQ(pushed.load(), popped.load());
    progress.fetch_add(1, std::memory_order_relaxed);
  }
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

// --- two selects that each offer both sides of the same two channels

TEST_P(channel_race, selects_that_lock_the_same_channels_in_different_order_meet) {
  const watchdog guard(rt(), progress);
  const auto until = std::chrono::steady_clock::now() + stress_time(250ms);
  channel<int> a, b;
  std::atomic<int> pushed{0}, popped{0};
  std::vector<task<void>> all;
  const auto swap = [&](channel<int>& x, channel<int>& y) {
    while (std::chrono::steady_clock::now() < until) {
      const auto pop = [&](std::optional<int> v) { popped += v.has_value(); };
      const auto push = [&] { ++pushed; };
      select(on_pop(x, pop), on_push(y, 1, push), on_push(x, 1, push), on_pop(y, pop),
             on_timeout(1ms, [] {}));
      progress.fetch_add(1, std::memory_order_relaxed);
    }
  };
  for (int i = 0; i < 4; ++i) {
    all.push_back(rt().spawn([&] { swap(a, b); }));
    all.push_back(rt().spawn([&] { swap(b, a); }));
  }
  std::thread thread([&] { swap(b, a); });
  for (auto& t : all) t.get();
  thread.join();
  EXPECT_EQ(pushed.load(), popped.load());
  EXPECT_GT(pushed.load(), 0);
}

}  // namespace
}  // namespace coir::testing
