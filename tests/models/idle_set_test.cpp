// The idle set, one step at a time, and against a sequential model.
#include "sched/idle_set.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <vector>

#include "stress.hpp"

namespace {

using namespace coir::sched;

class idle_set_test : public stress::with_both_fences {};

INSTANTIATE_TEST_SUITE_P(fences, idle_set_test, testing::Bool(), stress::name_of_fences);

TEST_P(idle_set_test, at_most_half_of_the_workers_search) {
  for (unsigned workers = 1; workers <= 8; ++workers) {
    idle_set idle(workers);
    unsigned searching = 0;
    while (idle.start_searching()) ++searching;
    EXPECT_EQ(searching, (workers + 1) / 2);
    EXPECT_EQ(idle.searching(), searching);
    EXPECT_FALSE(idle.stop_searching()) << "nobody sleeps who could be woken";
    EXPECT_TRUE(idle.start_searching());
  }
}

TEST_P(idle_set_test, the_last_searcher_looks_around_if_somebody_sleeps) {
  for (unsigned sleepers = 1; sleepers < 4; ++sleepers) {
    idle_set idle(5);
    for (unsigned worker = 0; worker < sleepers; ++worker) idle.announce(worker, false);
    ASSERT_TRUE(idle.start_searching());
    ASSERT_TRUE(idle.start_searching());
    EXPECT_FALSE(idle.stop_searching()) << "another one searches";
    EXPECT_TRUE(idle.stop_searching());
  }
}

TEST_P(idle_set_test, a_push_picks_a_sleeper_only_if_nobody_searches) {
  idle_set idle(4);
  EXPECT_EQ(idle.pick_for_work(), idle_set::nobody);
  idle.announce(2, false);
  EXPECT_TRUE(idle.anyone_sleeps());
  ASSERT_TRUE(idle.start_searching());
  EXPECT_EQ(idle.pick_for_work(), idle_set::nobody);
  EXPECT_EQ(idle.pick_any(), 2u) << "whoever searches";
  EXPECT_EQ(idle.searching(), 2u) << "who is picked counts as a searcher";
  EXPECT_FALSE(idle.retract(2)) << "it learns that it was picked";
  EXPECT_FALSE(idle.anyone_sleeps());
}

TEST_P(idle_set_test, the_last_to_sleep_is_picked_first) {
  idle_set idle(4);
  for (unsigned worker : {0u, 3u, 1u}) idle.announce(worker, false);
  EXPECT_EQ(idle.sleeping(), 3u);
  EXPECT_EQ(idle.pick_any(), 1u);
  EXPECT_TRUE(idle.retract(3));
  EXPECT_EQ(idle.pick_any(), 0u);
  EXPECT_EQ(idle.pick_any(), idle_set::nobody);
}

TEST_P(idle_set_test, a_searcher_that_falls_asleep_searches_no_more) {
  idle_set idle(2);
  ASSERT_TRUE(idle.start_searching());
  idle.announce(0, true);
  EXPECT_EQ(idle.searching(), 0u);
  EXPECT_EQ(idle.sleeping(), 1u);
}

TEST_P(idle_set_test, random_calls_agree_with_a_sequential_model) {
  constexpr unsigned workers = 5;
  enum state { awake, searching, asleep, picked };
  idle_set idle(workers);
  std::vector<state> states(workers, awake);
  std::vector<unsigned> sleepers;
  const auto searchers = [&] {
    return static_cast<unsigned>(std::count_if(
        states.begin(), states.end(), [](state s) { return s == searching || s == picked; }));
  };
  const auto expected_pick = [&] { return sleepers.empty() ? idle_set::nobody : sleepers.back(); };
  const auto pick = [&](unsigned worker) {
    if (worker == idle_set::nobody) return;
    states[worker] = picked;
    sleepers.pop_back();
  };
  stress::random_source random(1);
  for (int step = 0; step < 20'000; ++step) {
    const unsigned who = random.below(workers);
    state& its = states[who];
    const unsigned before = searchers();
    switch (random.below(6)) {
      case 0:
        if (its != awake) break;
        ASSERT_EQ(idle.start_searching(), before < (workers + 1) / 2);
        if (before < (workers + 1) / 2) its = searching;
        break;
      case 1:
        if (its != searching) break;
        ASSERT_EQ(idle.stop_searching(), before == 1 && !sleepers.empty());
        its = awake;
        break;
      case 2:
        if (its != awake && its != searching) break;
        idle.announce(who, its == searching);
        its = asleep;
        sleepers.push_back(who);
        break;
      case 3:
        if (its != asleep && its != picked) break;
        ASSERT_EQ(idle.retract(who), its == asleep);
        sleepers.erase(std::remove(sleepers.begin(), sleepers.end(), who), sleepers.end());
        its = its == asleep ? awake : searching;
        break;
      case 4: {
        const unsigned expected = before != 0 ? idle_set::nobody : expected_pick();
        ASSERT_EQ(idle.pick_for_work(), expected);
        pick(expected);
        break;
      }
      default: {
        if (random.below(4) != 0) break;
        const unsigned expected = expected_pick();
        ASSERT_EQ(idle.pick_any(), expected);
        pick(expected);
      }
    }
    ASSERT_EQ(idle.searching(), searchers());
    ASSERT_EQ(idle.sleeping(), sleepers.size());
    ASSERT_EQ(idle.anyone_sleeps(), !sleepers.empty());
  }
}

}  // namespace
