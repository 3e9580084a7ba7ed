#include <coir/sched/cancelled.hpp>
#include <coir/sync/barrier.hpp>
#include <coir/sync/event.hpp>

#include <algorithm>
#include <set>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using barrier_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, barrier_test, worker_counts(), name_of);

template <class B>
void wait_until_waiting(B& b, std::size_t n) {
  while (b.waiting() != n) this_fiber::yield();
}

TEST_P(barrier_test, nobody_passes_before_all_are_there_round_after_round_in_any_mix) {
  constexpr int parties = 5;
  int completions = 0;
  std::atomic<int> arrived{0};
  barrier b(parties, [&]() noexcept {
    EXPECT_EQ(arrived.exchange(0), parties);
    ++completions;
  });
  const int rounds = sanitized ? 30 : 200;
  in_any_mix(rt(), std::vector<std::function<void()>>(parties, [&] {
               for (int i = 0; i < rounds; ++i) {
                 ++arrived;
                 b.arrive_and_wait();
                 EXPECT_GE(completions, i + 1);
               }
             }));
  EXPECT_EQ(completions, rounds);
  EXPECT_FALSE(b.broken());
}

TEST_P(barrier_test, each_gets_an_index_of_its_own_from_zero) {
  on_fiber([&] {
    barrier<> b(6);
    for (int round = 0; round < 20; ++round) {
      std::vector<task<std::size_t>> all;
      for (int i = 0; i < 6; ++i) all.push_back(spawn([&] { return b.arrive_and_wait(); }));
      std::set<std::size_t> seen;
      for (auto& t : all) seen.insert(t.get());
      EXPECT_EQ(seen, (std::set<std::size_t>{0, 1, 2, 3, 4, 5}));
    }
    barrier<> alone(1);
    EXPECT_EQ(alone.arrive_and_wait(), 0U);
    EXPECT_EQ(alone.arrive_and_wait_for(0ms), 0U);
  });
}

// F90
TEST_P(barrier_test, there_is_at_least_one_party) {
  EXPECT_THROW(barrier<>(0), std::invalid_argument);
  EXPECT_THROW(barrier<>(-1), std::invalid_argument);
}

// F90
TEST_P(barrier_test, a_cancelled_one_takes_its_arrival_back_and_the_indices_stay_distinct) {
  on_fiber([&] {
    barrier<> b(3);
    for (int round = 0; round < 30; ++round) {
      auto doomed = spawn([&] { b.arrive_and_wait(); });
      wait_until_parked(doomed);
      auto stays = spawn([&] { return b.arrive_and_wait(); });
      wait_until_parked(stays);
      doomed.cancel();
      if (round % 2 == 0) doomed.wait();
      auto next = spawn([&] { return b.arrive_and_wait(); });
      EXPECT_FALSE(stays.wait_for(100us)) << "one is missing";
      const std::size_t last = b.arrive_and_wait();
      EXPECT_EQ((std::set<std::size_t>{stays.get(), next.get(), last}),
                (std::set<std::size_t>{0, 1, 2}));
      EXPECT_THROW(doomed.get(), cancelled);
    }
  });
}

// Its worker hears of the request while the last arrival looks at who has been asked to end.
TEST_P(barrier_test, one_that_was_asked_to_end_before_the_last_arrival_is_not_of_this_phase) {
  on_fiber([&] {
    barrier<> b(2);
    const int rounds = (sanitized ? 5'000 : 50'000) * static_cast<int>(scale());
    dice random(3);
    std::atomic<int> begun{0}, over{0};
    auto doomed = spawn([&] {
      for (int round = 1; round <= rounds; ++round) {
        begun = round;
        EXPECT_THROW(b.arrive_and_wait(), cancelled) << "in round " << round;
        this_fiber::uncancel();
        while (over != round) this_fiber::yield();
      }
    });
    for (int round = 1; round <= rounds && !HasFailure(); ++round) {
      while (begun != round || b.waiting() == 0) this_fiber::yield();
      doomed.cancel();
      random.spin(1000);
      EXPECT_EQ(b.arrive_and_wait_for(0ms), std::nullopt) << "in round " << round;
      over = round;
    }
    if (HasFailure()) b.abort(), over = rounds;
  });
}

TEST_P(barrier_test, who_gives_up_takes_its_arrival_back_and_the_barrier_stays_whole) {
  const auto check = [] {
    barrier<> b(2);
    const auto start = clock::now();
    EXPECT_EQ(b.arrive_and_wait_for(2ms), std::nullopt);
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_EQ(b.arrive_and_wait_until(clock::now() - 1h), std::nullopt);
    EXPECT_EQ(b.waiting(), 0U);
    EXPECT_FALSE(b.broken());
    auto token = b.arrive();
    EXPECT_FALSE(b.wait_for(token, 1ms));
    EXPECT_EQ(b.arrive_and_wait_for(1h), 0U);
    EXPECT_TRUE(b.wait_until(token, clock::now()));
    b.wait(std::move(token));
  };
  check();
  on_fiber(check);
}

TEST_P(barrier_test, arrivals_without_a_wait_and_parties_that_drop_out) {
  on_fiber([&] {
    int completions = 0;
    barrier b(4, [&]() noexcept { ++completions; });
    static_cast<void>(b.arrive(3));
    EXPECT_EQ(b.arrive_and_wait(), 0U);
    EXPECT_EQ(completions, 1);
    b.arrive_and_drop();
    b.arrive_and_drop();
    auto t = spawn([&] { return b.arrive_and_wait(); });
    wait_until_parked(t);
    b.arrive_and_wait();
    t.get();
    EXPECT_EQ(b.parties(), 2);
    EXPECT_EQ(completions, 2);
    auto token = b.arrive();
    auto waits = spawn([&] { b.wait(std::move(token)); });
    wait_until_parked(waits);
    static_cast<void>(b.arrive());
    waits.get();
    EXPECT_EQ(completions, 3);
  });
}

TEST_P(barrier_test, abort_throws_at_those_who_wait_and_at_those_who_come_until_reset) {
  on_fiber([&] {
    barrier<> b(4);
    std::vector<task<void>> all;
    for (int i = 0; i < 3; ++i) {
      all.push_back(spawn([&] { b.arrive_and_wait(); }));
      wait_until_parked(all.back());
    }
    static_cast<void>(b.arrive());
    for (auto& t : all) t.get();
    all.clear();
    for (int i = 0; i < 3; ++i) {
      all.push_back(spawn([&] { b.arrive_and_wait(); }));
      wait_until_parked(all.back());
    }
    b.abort();
    EXPECT_TRUE(b.broken());
    for (auto& t : all) EXPECT_THROW(t.get(), broken_barrier);
    EXPECT_THROW(b.arrive_and_wait(), broken_barrier);
    EXPECT_THROW(static_cast<void>(b.arrive()), broken_barrier);
    EXPECT_THROW(b.arrive_and_wait_for(1ms), broken_barrier);
    b.reset();
    EXPECT_FALSE(b.broken());
    all.clear();
    for (int i = 0; i < 3; ++i) all.push_back(spawn([&] { b.arrive_and_wait(); }));
    b.arrive_and_wait();
    for (auto& t : all) t.get();
  });
}

TEST_P(barrier_test, reset_throws_at_those_who_wait_and_leaves_it_empty_and_whole) {
  on_fiber([&] {
    barrier<> b(3);
    auto one = spawn([&] { b.arrive_and_wait(); });
    auto two = spawn([&] { b.arrive_and_wait(); });
    wait_until_waiting(b, 2);
    b.reset();
    EXPECT_FALSE(b.broken());
    EXPECT_EQ(b.waiting(), 0U);
    EXPECT_THROW(one.get(), broken_barrier);
    EXPECT_THROW(two.get(), broken_barrier);
    EXPECT_EQ(b.arrive_and_wait_for(1ms), std::nullopt) << "their arrivals are gone";
    b.reset();
    auto token = b.arrive();
    b.reset();
    EXPECT_THROW(b.wait(std::move(token)), broken_barrier);
  });
}

using barrier_on_one_worker_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, barrier_on_one_worker_test,
                         ::testing::ValuesIn(settings({1}, {drivers::futex})), name_of);

// F90. Nobody who was released has gone on yet when the last one acts.
TEST_P(barrier_on_one_worker_test, abort_and_reset_strike_the_released_that_have_not_gone_on) {
  on_fiber([&] {
    for (const bool abort : {true, false}) {
      barrier<> b(3);
      std::vector<task<void>> all;
      for (int i = 0; i < 2; ++i) {
        all.push_back(spawn([&] { b.arrive_and_wait(); }));
        wait_until_parked(all.back());
      }
      EXPECT_EQ(b.arrive_and_wait(), 2U);
      auto next = b.arrive();
      if (abort)
        b.abort();
      else
        b.reset();
      for (auto& t : all) EXPECT_THROW(t.get(), broken_barrier);
      EXPECT_EQ(b.broken(), abort);
      if (abort) {
        EXPECT_THROW(b.wait(std::move(next)), broken_barrier);
      } else {  // who came for the next phase is not struck
        static_cast<void>(b.arrive(2));
        b.wait(std::move(next));
      }
    }
  });
}

TEST_P(barrier_test, who_was_asked_to_end_before_the_last_came_is_not_counted) {
  on_fiber([&] {
    barrier<> b(2);
    auto doomed = spawn([&] { b.arrive_and_wait(); });
    wait_until_parked(doomed);
    doomed.cancel();  // its worker may not have heard of it yet
    EXPECT_EQ(b.arrive_and_wait_for(2ms), std::nullopt);
    EXPECT_THROW(doomed.get(), cancelled);
  });
}

TEST_P(barrier_test, a_completion_that_throws_breaks_it) {
  on_fiber([&] {
    barrier b(2, [] { throw 5; });
    auto t = spawn([&] { b.arrive_and_wait(); });
    wait_until_parked(t);
    EXPECT_THROW(b.arrive_and_wait(), int);
    EXPECT_THROW(t.get(), broken_barrier);
    EXPECT_TRUE(b.broken());
  });
}

TEST_P(barrier_test, a_phase_that_fills_while_the_completion_runs_comes_after_it) {
  on_fiber([&] {
    event in_completion, go_on;
    std::atomic<int> running{0}, completions{0};
    barrier b(2, [&] {
      EXPECT_EQ(running.fetch_add(1), 0) << "one at a time";
      in_completion.set();
      go_on.wait();
      --running;
      ++completions;
    });
    std::vector<task<std::size_t>> all;
    for (int i = 0; i < 6; ++i) all.push_back(spawn([&] { return b.arrive_and_wait(); }));
    in_completion.wait();
    for (int i = 0; i < 20; ++i) this_fiber::yield();
    EXPECT_EQ(completions.load(), 0);
    go_on.set();
    std::size_t sum = 0;
    for (auto& t : all) sum += t.get();
    EXPECT_EQ(sum, 3U);
    EXPECT_EQ(completions.load(), 3);
  });
}

TEST_P(barrier_test, it_may_be_destroyed_when_all_have_arrived) {
  for (int round = 0; round < (sanitized ? 30 : 200); ++round) {
    auto b = std::make_unique<barrier<>>(3);
    auto one = rt().spawn([&b = *b] { b.arrive_and_wait(); });
    auto two = rt().spawn([&b = *b] { b.arrive_and_wait(); });
    b->arrive_and_wait();
    b.reset();  // the released may not have run yet
    one.get();
    two.get();
  }
}

}  // namespace
}  // namespace coir::testing
