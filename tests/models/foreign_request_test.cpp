// The protocol of foreign requests, one step at a time, and against a sequential model.
#include "foreign_request.hpp"

#include <gtest/gtest.h>
#include <array>

#include "stress.hpp"

namespace {

using namespace coir::sched;
using worker = models::model_worker<std_atomics>;
using fiber = models::model_fiber<std_atomics>;

// Two workers, a fiber, and what it would come to if every step were made at once.
struct workplace {
  std::array<worker, 2> w;
  fiber f;
  wait_generation wait = 0;
  int steps = 0;

  workplace() {
    f.home.store(&w[0]);
    w[0].ready(f);
  }
  bool runs_at(unsigned at) {
    int step = -1;
    if (w[at].take_next(step) == nullptr) return false;
    EXPECT_EQ(step, steps) << "it goes on elsewhere than it stopped";
    return true;
  }
  // The running fiber waits. False: it was asked to end.
  bool park(unsigned at, bool cancellable = true) {
    wait = f.claim.begin(outcome::waiting, cancellable);
    if (w[at].park(f, steps + 1, [](wait_generation) {})) return ++steps, true;
    EXPECT_EQ(f.claim.finish(), outcome::cancelled);
    return false;
  }
  void park_operation(unsigned at, bool cancellable = true) {
    wait = f.claim.begin(outcome::operating, cancellable);
    w[at].park_operation(f, ++steps);
  }
  bool messages() const { return w[0].has_messages() || w[1].has_messages(); }
  void handle_all() {
    for (int round = 0; messages() && round < 10; ++round)
      for (worker& each : w) each.handle_messages();
    EXPECT_FALSE(messages()) << "a message goes round for ever";
    EXPECT_EQ(f.messages, 0) << "a reference is lost or doubled";
  }
};

TEST(foreign_request_test, one_that_is_parked_is_woken_where_it_lives) {
  workplace p;
  ASSERT_TRUE(p.runs_at(0));
  ASSERT_TRUE(p.park(0));
  models::request_cancellation(p.f);
  EXPECT_FALSE(p.w[0].has_ready()) << "only its worker wakes it";
  EXPECT_TRUE(p.w[0].has_messages());
  EXPECT_FALSE(p.w[1].has_messages());
  p.handle_all();
  ASSERT_TRUE(p.runs_at(0));
  EXPECT_EQ(p.f.claim.finish(), outcome::cancelled);
}

TEST(foreign_request_test, one_that_runs_sees_it_when_it_would_park) {
  workplace p;
  ASSERT_TRUE(p.runs_at(0));
  models::request_cancellation(p.f);
  models::request_cancellation(p.f);  // is the same
  p.handle_all();
  EXPECT_FALSE(p.park(0));
  p.f.take_request();
  EXPECT_TRUE(p.park(0)) << "it is taken";
}

TEST(foreign_request_test, a_wait_that_is_not_cancellable_is_left_alone) {
  workplace p;
  ASSERT_TRUE(p.runs_at(0));
  ASSERT_TRUE(p.park(0, false));
  models::request_cancellation(p.f);
  p.handle_all();
  EXPECT_FALSE(p.w[0].has_ready());
  ASSERT_TRUE(p.f.claim.claim(p.wait, outcome::granted));
  p.w[1].ready(p.f);
  ASSERT_TRUE(p.runs_at(1));
  EXPECT_EQ(p.f.claim.finish(), outcome::granted);
  EXPECT_TRUE(p.f.asked());
}

TEST(foreign_request_test, a_message_follows_one_that_was_stolen) {
  workplace p;
  models::request_cancellation(p.f);
  ASSERT_EQ(p.w[1].steal_from(p.w[0], false, 1), break_in::entered);
  EXPECT_TRUE(p.w[0].has_messages());
  ASSERT_TRUE(p.runs_at(1));
  p.f.take_request();  // of its own accord
  ASSERT_TRUE(p.park(1));
  models::request_cancellation(p.f);
  p.handle_all();
  ASSERT_TRUE(p.runs_at(1));
  EXPECT_EQ(p.f.claim.finish(), outcome::cancelled);
}

TEST(foreign_request_test, only_the_owner_stops_an_operation) {
  workplace p;
  ASSERT_TRUE(p.runs_at(0));
  p.park_operation(0);
  models::request_cancellation(p.f);
  ASSERT_EQ(p.w[1].steal_from(p.w[0], true, 1), break_in::entered);
  EXPECT_TRUE(p.w[0].has_messages()) << "the rescuer puts it back";
  EXPECT_FALSE(p.w[1].complete_if_stopped(p.f));
  EXPECT_FALSE(p.w[0].complete_if_stopped(p.f));
  p.w[0].handle_messages();
  EXPECT_TRUE(p.w[0].complete_if_stopped(p.f));
  ASSERT_TRUE(p.runs_at(0));
  EXPECT_EQ(p.f.claim.finish(), outcome::granted);
}

TEST(foreign_request_test, one_without_a_home_sees_it_when_it_has_one) {
  worker w;
  fiber f;
  models::request_cancellation(f);
  EXPECT_EQ(f.messages, 0);
  w.start(f);
  EXPECT_TRUE(f.asked());
  models::request_cancellation(f);
  EXPECT_TRUE(w.has_messages());
  w.handle_messages();
  EXPECT_EQ(f.messages, 0);
}

// What is asked and where the fiber is, without messages and homes.
enum class place { ready, running, waiting, operating };

TEST(foreign_request_test, random_steps_agree_with_a_sequential_model) {
  workplace p;
  stress::random_source random(5);
  place at = place::ready;
  bool asked = false, cancellable = true;
  unsigned on = 0;  // the worker of one that runs or operates
  std::array<std::uint64_t, 4> ended{};
  const auto woken = [&](outcome how) {  // it is ready somewhere; its code goes on
    ASSERT_TRUE(p.runs_at(on = 0) || p.runs_at(on = 1));
    ASSERT_EQ(p.f.claim.finish(), how);
    at = place::running;
  };
  for (int step = 0; step < 300'000; ++step) {
    const unsigned who = random.below(2);
    switch (random.below(6)) {
      case 0:
        models::request_cancellation(p.f);
        asked = true;
        break;
      case 1:
        p.w[who].handle_messages();
        break;
      case 2:
        ASSERT_EQ(p.w[who].steal_from(p.w[1 - who], random.below(2) == 0, 1), break_in::entered);
        break;
      case 3:
        if (at != place::waiting || !p.f.claim.claim(p.wait, outcome::granted)) break;
        p.w[who].ready(p.f);
        woken(outcome::granted);
        ++ended[0];
        break;
      case 4:
        if (at == place::ready && (p.runs_at(on = 0) || p.runs_at(on = 1))) at = place::running;
        if (at != place::running) break;
        ASSERT_EQ(p.f.asked(), asked);
        if (random.below(3) == 0) break;
        cancellable = random.below(4) != 0;
        if (random.below(3) == 0) {
          p.park_operation(on, cancellable);
          at = place::operating;
        } else if (p.park(on, cancellable)) {
          ASSERT_FALSE(asked && cancellable);
          at = place::waiting;
        } else {
          ASSERT_TRUE(asked && cancellable);
          ++ended[1];
        }
        break;
      default:
        if (at == place::running && asked) {
          p.f.take_request();
          asked = false;
          break;
        }
        // Every message has been handled: what was asked of it has come.
        p.handle_all();
        if (at == place::waiting) {
          ASSERT_EQ(p.w[0].has_ready() || p.w[1].has_ready(), asked && cancellable);
          if (asked && cancellable) woken(outcome::cancelled), ++ended[2];
        } else if (at == place::operating) {
          ASSERT_FALSE(p.w[1 - on].complete_if_stopped(p.f));
          const bool stopped = p.w[on].complete_if_stopped(p.f);
          ASSERT_EQ(stopped, asked && cancellable);
          if (!stopped && random.below(2) == 0) {  // it completes by itself
            p.f.claim.complete();
            p.w[on].ready(p.f);
          } else if (!stopped) {
            break;
          }
          woken(outcome::granted);
          ++ended[3];
        }
    }
    if (at == place::waiting && (p.w[0].has_ready() || p.w[1].has_ready())) {
      ASSERT_TRUE(asked && cancellable);
      woken(outcome::cancelled);
      ++ended[2];
    }
  }
  p.handle_all();
  for (const std::uint64_t n : ended) EXPECT_GT(n, 1000U);
}

}  // namespace
