// All interleavings of the production claim word: of wake, timeout and cancellation exactly one
// wins a wait, the waiter learns which, and nobody claims a wait that is over.
#include "modes.hpp"

#include <array>
#include <coir/sched/claim_word.hpp>

namespace {

using namespace coir::explorer;
using how = coir::sched::outcome;

class claim_word_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, claim_word_model, both_memories(), name_of);

using claim_word = coir::sched::basic_claim_word<explorer_atomics>;

constexpr std::size_t index_of(how ended) { return static_cast<std::size_t>(ended); }

template <int waits>
struct one_waiter {
  claim_word word;
  atomic<std::uint64_t> published{0};    // stands for the wait queue and its lock
  explored<int> question;                // the waiter's, for its claimer
  std::array<explored<int>, 6> answers;  // each claimer's, for the waiter
  std::array<atomic<int>, waits + 1> winners;

  one_waiter() { label(word, "claim word"), label(published, "published"); }

  void waiter() {
    for (int wait = 1; wait <= waits; ++wait) {
      question = wait;
      const auto generation = word.begin(how::waiting, wait != 2);
      expect(generation == static_cast<std::uint64_t>(wait), "a generation is used again");
      published.store(generation, std::memory_order_release);
      while (word.state() == how::waiting) explorer_atomics::pause();
      const how ended = word.finish();
      expect(answers[index_of(ended)] == wait, "the waiter does not see its claimer's answer");
      expect(word.state() == how::running, "a finished wait still counts");
    }
  }

  bool claim(std::uint64_t generation, how wanted) {
    // Whoever has read the generation may read what the waiter did before it published that.
    answers[index_of(wanted)] = static_cast<int>(generation);
    if (!word.claim(generation, wanted)) return false;
    winners[generation].fetch_add(1, std::memory_order_relaxed);
    return true;
  }

  // Comes for each wait: the one that ends it if nobody else does.
  void granter() {
    for (std::uint64_t wait = 1; wait <= waits; ++wait) {
      await([this, wait] { return published.load() >= wait; });
      published.load(std::memory_order_acquire);
      outcome(claim(wait, how::granted) ? "granted" : "grant lost");
    }
  }

  // For the first wait only, however late.
  void timer() {
    await([this] { return published.load() >= 1; });
    const auto now = published.load(std::memory_order_acquire);
    const bool won = claim(1, how::timed_out);
    expect(!won || now == 1, "a stale timer wins");
    outcome(won ? "timed out" : now > 1 ? "timer stale" : "timer lost");
  }

  // For whatever the waiter is in now. Its second wait is not cancellable.
  void canceller() {
    const auto seen = word.look();
    if (seen.state != how::waiting) return outcome("cancel finds nothing");
    published.load(std::memory_order_acquire);
    const bool won = claim(seen.generation, how::cancelled);
    expect(!won || seen.generation != 2, "a wait that is not cancellable is cancelled");
    expect(!won || seen.cancellable, "the snapshot tells another story than the claim");
    outcome(won ? "cancelled" : "cancel lost");
  }

  void check() {
    for (int wait = 1; wait <= waits; ++wait)
      expect(winners[static_cast<std::size_t>(wait)].load() == 1, "not exactly one winner");
  }
};

// F24
TEST_P(claim_word_model, wake_timeout_and_cancellation_have_one_winner) {
  using model = one_waiter<1>;
  holds(explore<model>(long_buffers(named("claim, one wait", 2)),
                       {{"waiter", &model::waiter},
                        {"granter", &model::granter},
                        {"timer", &model::timer},
                        {"canceller", &model::canceller}},
                       &model::check),
        {"granted", "grant lost", "timed out", "timer lost", "cancelled", "cancel lost",
         "cancel finds nothing"});
}

TEST_P(claim_word_model, a_claimer_of_an_earlier_wait_loses) {
  using model = one_waiter<2>;
  holds(explore<model>(
            long_buffers(named("claim, two waits", 3)),
            {{"waiter", &model::waiter}, {"granter", &model::granter}, {"timer", &model::timer}},
            &model::check),
        {"timed out", "timer lost", "timer stale"});
}

TEST_P(claim_word_model, a_cancellation_meets_the_wait_it_has_seen_or_none) {
  using model = one_waiter<2>;
  holds(explore<model>(long_buffers(named("claim, cancelled", 3)),
                       {{"waiter", &model::waiter},
                        {"granter", &model::granter},
                        {"canceller", &model::canceller}},
                       &model::check),
        {"granted", "grant lost", "cancelled", "cancel lost", "cancel finds nothing"});
}

// A waiter in an operation of its own ring: late claimers of earlier waits look, and never win.
struct operating_waiter {
  claim_word word;
  atomic<std::uint64_t> published{0};
  explored<int> result = 0;

  void owner() {  // the fiber and its worker: one thread
    word.begin();
    published.store(1, std::memory_order_release);
    await([this] { return word.state() != how::waiting; });
    word.finish();
    word.begin(how::operating);
    result = 1;
    word.complete();
    expect(word.finish() == how::granted, "an operation ended otherwise than by its completion");
  }
  void granter() {
    await([this] { return published.load() == 1; });
    word.claim(1, how::granted);
  }
  void late() {
    const auto seen = word.look();
    if (seen.generation == 2 && seen.state == how::operating) outcome("seen operating");
    expect(seen.generation != 2 || !word.claim(2, how::cancelled), "an operation is claimed");
    expect(seen.generation != 2 || !word.claim(2, how::timed_out), "an operation is claimed");
  }
};

TEST_P(claim_word_model, nobody_claims_an_operation) {
  using model = operating_waiter;
  holds(explore<model>(
            named("claim, operation", 3),
            {{"owner", &model::owner}, {"granter", &model::granter}, {"late", &model::late}}),
        {"seen operating"});
}

}  // namespace
