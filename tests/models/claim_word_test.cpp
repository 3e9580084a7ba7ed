// The claim word, one step at a time, and against a sequential model.
#include <gtest/gtest.h>
#include <coir/sched/claim_word.hpp>
#include <optional>

#include "stress.hpp"

namespace {

using namespace coir::sched;

constexpr outcome claims[] = {outcome::granted, outcome::timed_out, outcome::cancelled};

TEST(claim_word_test, the_first_claim_wins_and_the_others_lose) {
  for (outcome first : claims) {
    claim_word word;
    const auto wait = word.begin();
    EXPECT_EQ(word.state(), outcome::waiting);
    EXPECT_TRUE(word.claim(wait, first));
    for (outcome later : claims) EXPECT_FALSE(word.claim(wait, later));
    EXPECT_EQ(word.state(), first);
    EXPECT_EQ(word.finish(), first);
    EXPECT_EQ(word.state(), outcome::running);
  }
}

TEST(claim_word_test, a_claim_of_an_earlier_wait_loses) {
  claim_word word;
  const auto first = word.begin();
  ASSERT_TRUE(word.claim(first, outcome::granted));
  word.finish();
  EXPECT_FALSE(word.claim(first, outcome::timed_out)) << "nobody waits";
  const auto second = word.begin();
  EXPECT_NE(first, second);
  EXPECT_FALSE(word.claim(first, outcome::timed_out)) << "another wait";
  EXPECT_TRUE(word.claim(second, outcome::timed_out));
}

TEST(claim_word_test, a_wait_that_is_not_cancellable_is_only_not_cancelled) {
  claim_word word;
  const auto wait = word.begin(outcome::waiting, false);
  EXPECT_FALSE(word.look().cancellable);
  EXPECT_FALSE(word.claim(wait, outcome::cancelled));
  EXPECT_EQ(word.state(), outcome::waiting);
  EXPECT_TRUE(word.claim(wait, outcome::timed_out));
}

TEST(claim_word_test, an_operation_is_completed_and_never_claimed) {
  claim_word word;
  const auto operation = word.begin(outcome::operating);
  for (outcome how : claims) EXPECT_FALSE(word.claim(operation, how));
  word.complete();
  EXPECT_EQ(word.generation(), operation);
  EXPECT_EQ(word.finish(), outcome::granted);
}

TEST(claim_word_test, random_calls_agree_with_a_sequential_model) {
  struct model {
    wait_generation generation = 0;
    outcome state = outcome::running;
    bool cancellable = false;
  } expected;
  claim_word word;
  stress::random_source random(1);
  for (int step = 0; step < 200'000; ++step) {
    const auto how = claims[random.below(3)];
    switch (random.below(4)) {
      case 0:
        if (expected.state != outcome::running) break;
        expected = {expected.generation + 1,
                    random.below(4) == 0 ? outcome::operating : outcome::waiting,
                    random.below(2) == 0};
        ASSERT_EQ(word.begin(expected.state, expected.cancellable), expected.generation);
        break;
      case 1: {
        const auto which = expected.generation -
                           std::min<wait_generation>(random.below(3) / 2, expected.generation);
        const bool wins = which == expected.generation && expected.state == outcome::waiting &&
                          (how != outcome::cancelled || expected.cancellable);
        ASSERT_EQ(word.claim(which, how), wins);
        if (wins) expected.state = how;
        break;
      }
      case 2:
        if (expected.state != outcome::operating) break;
        word.complete();
        expected.state = outcome::granted;
        break;
      default:
        if (expected.state == outcome::running || expected.state == outcome::waiting ||
            expected.state == outcome::operating)
          break;
        ASSERT_EQ(word.finish(), expected.state);
        expected.state = outcome::running;
    }
    ASSERT_EQ(word.state(), expected.state);
    ASSERT_EQ(word.generation(), expected.generation);
  }
}

}  // namespace
