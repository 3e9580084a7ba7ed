// Brute force on the claim word: a waiter and three claimers who are all after the same wait, and
// who often come too late for it.
#include <coir/sched/claim_word.hpp>

#include <gtest/gtest.h>
#include <array>
#include <thread>

#include "stress.hpp"

namespace {

using namespace coir::sched;

struct shared_wait {
  claim_word word;
  std::atomic<wait_generation> published{0};
  // Comes first more often than not, because fewer processors than threads favour somebody else.
  std::atomic<unsigned> favourite{0};
  std::atomic<bool> over{false};
  std::array<std::uint64_t, 6> answers{};  // each claimer's, read by the waiter that it has won
};

struct claimer_report {
  stress::tally won, lost;
};

void claim_often(shared_wait& shared, outcome how, claimer_report& report) {
  stress::random_source random(static_cast<std::uint64_t>(how));
  wait_generation last = 0;
  for (unsigned turn = 0; !shared.over.load(std::memory_order_relaxed); ++turn) {
    const auto now = shared.published.load(std::memory_order_acquire);
    if (now == last) {
      std_atomics::pause(turn < 500 ? 0 : turn);
      continue;
    }
    turn = 0;
    last = now;
    const bool first =
        shared.favourite.load(std::memory_order_relaxed) == static_cast<unsigned>(how);
    if (!first) random.give_way(2);
    random.dawdle(first ? 5 : 20);
    shared.answers[static_cast<std::size_t>(how)] = now;
    ++(shared.word.claim(now, how) ? report.won : report.lost);
  }
}

TEST(claim_word_stress, each_wait_has_one_winner_and_the_waiter_knows_which) {
  shared_wait shared;
  std::array<claimer_report, 3> reports;
  std::array<std::uint64_t, 6> seen{};
  std::thread granter(claim_often, std::ref(shared), outcome::granted, std::ref(reports[0]));
  std::thread timer(claim_often, std::ref(shared), outcome::timed_out, std::ref(reports[1]));
  std::thread canceller(claim_often, std::ref(shared), outcome::cancelled, std::ref(reports[2]));

  std::uint64_t waits = 0, stale = 0;
  bool claimed = true;
  stress::random_source random(9);
  const stress::race_clock clock(1);
  for (; claimed; ++waits) {
    const std::uint64_t lost = reports[0].lost + reports[1].lost + reports[2].lost;
    if (waits % 64 == 0 && !clock.goes_on({reports[0].won, reports[1].won, reports[2].won, lost}))
      break;
    constexpr outcome claims[] = {outcome::granted, outcome::timed_out, outcome::cancelled};
    shared.favourite.store(static_cast<unsigned>(claims[random.below(3)]),
                           std::memory_order_relaxed);
    const auto wait = shared.word.begin();
    shared.published.store(wait, std::memory_order_release);
    claimed = stress::eventually([&] { return shared.word.state() != outcome::waiting; });
    EXPECT_TRUE(claimed) << "wait " << wait << " has no winner";
    const auto how = static_cast<std::size_t>(shared.word.finish());
    ++seen[how];
    stale += shared.answers[how] != wait;
    random.dawdle(20);
  }
  shared.over = true;
  granter.join();
  timer.join();
  canceller.join();

  EXPECT_EQ(stale, 0u);
  EXPECT_EQ(seen[static_cast<std::size_t>(outcome::granted)], reports[0].won);
  EXPECT_EQ(seen[static_cast<std::size_t>(outcome::timed_out)], reports[1].won);
  EXPECT_EQ(seen[static_cast<std::size_t>(outcome::cancelled)], reports[2].won);
  EXPECT_EQ(reports[0].won + reports[1].won + reports[2].won, waits);
  stress::each_happens("claim word",
                       {{"granted", reports[0].won},
                        {"timed out", reports[1].won},
                        {"cancelled", reports[2].won},
                        {"claim lost", reports[0].lost + reports[1].lost + reports[2].lost}});
}

}  // namespace
