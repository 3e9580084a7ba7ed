// call_later, call_at and their handles; interval.
#include <coir/sched/timer.hpp>
#include <coir/sync/event.hpp>

#include <memory>
#include <stdexcept>
#include <system_error>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class timer_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, timer_test, every_setting(), name_of);

TEST_P(timer_test, a_call_runs_once_at_its_time_in_a_fiber_of_its_own) {
  on_fiber([] {
    event ran;
    int calls = 0;
    const auto began = clock::now();
    clock::time_point at;
    fiber_id who;
    call_later(3ms, [&, own = std::make_unique<int>(1)] {
      at = clock::now();
      who = this_fiber::id();
      ++calls;
      this_fiber::yield();
      ran.set();
    });
    ran.wait();
    EXPECT_GE(at - began, 3ms) << "never early";
    EXPECT_NE(who, this_fiber::id());
    EXPECT_EQ(calls, 1);
  });
}

TEST_P(timer_test, a_time_in_the_past_is_at_once_and_for_ever_is_never) {
  std::atomic<int> calls{0};
  on_fiber([&] {
    call_at(clock::now() - 1h, [&] { ++calls; });
    call_later(-5s, [&] { ++calls; });
    call_later(std::chrono::hours::max(), [&] { calls += 100; });
    EXPECT_TRUE(eventually_on_fiber([&] { return calls == 2; }));
  });
  stop();
  EXPECT_EQ(calls, 2);
}

TEST_P(timer_test, cancel_says_whether_it_will_run) {
  on_fiber([] {
    std::atomic<int> calls{0};
    timer none;
    EXPECT_FALSE(none.cancel());
    timer t = call_later(1h, [&] { ++calls; });
    EXPECT_TRUE(t.cancel());
    EXPECT_FALSE(t.cancel());
    event ran;
    timer u = call_later(0s, [&] { ran.set(); });
    ran.wait();
    EXPECT_FALSE(u.cancel());
    EXPECT_EQ(calls, 0);
  });
}

TEST_P(timer_test, what_is_dropped_is_destroyed_on_a_stack) {
  on_fiber([] {
    struct yields_when_destroyed {
      explicit yields_when_destroyed(std::atomic<int>& c) : count(&c) {}
      yields_when_destroyed(yields_when_destroyed&& o) noexcept
          : count(std::exchange(o.count, nullptr)) {}
      ~yields_when_destroyed() {
        if (count == nullptr) return;
        this_fiber::yield();
        ++*count;
      }
      std::atomic<int>* count;
    };
    std::atomic<int> destroyed{0};
    {
      timer t = call_later(1h, [d = yields_when_destroyed(destroyed)] {});
      t.cancel();
    }
    EXPECT_TRUE(eventually_on_fiber([&] { return destroyed == 1; }));
  });
}

TEST_P(timer_test, reschedule_moves_it_and_runs_it_again) {
  on_fiber([] {
    std::atomic<int> calls{0};
    timer t = call_later(1h, [&] { ++calls; });
    EXPECT_TRUE(t.reschedule(clock::now() + 1ms));
    EXPECT_TRUE(eventually_on_fiber([&] { return calls == 1; }));
    EXPECT_TRUE(t.reschedule(clock::now() + 1ms)) << "also after it has run";
    EXPECT_TRUE(eventually_on_fiber([&] { return calls == 2; }));
    EXPECT_TRUE(t.reschedule(clock::now() + 1h));
    EXPECT_TRUE(t.cancel());
    EXPECT_TRUE(t.reschedule(clock::now())) << "and after a cancel";
    EXPECT_TRUE(eventually_on_fiber([&] { return calls == 3; }));
  });
}

// F38: from inside of the call it is too late to cancel, and not to run again.
TEST_P(timer_test, a_call_may_cancel_and_reschedule_itself) {
  on_fiber([] {
    std::atomic<int> calls{0}, too_late{0};
    event known, ended;
    timer t;
    t = call_later(0s, [&] {
      known.wait();
      too_late += !t.cancel();
      if (++calls == 3) return ended.set();
      EXPECT_TRUE(t.reschedule(clock::now() + 1h));
      EXPECT_TRUE(t.cancel()) << "what has been put off anew";
      EXPECT_TRUE(t.reschedule(clock::now()));
    });
    known.set();
    ended.wait();
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(too_late, 3);
  });
}

TEST_P(timer_test, a_plain_thread_cancels_and_reschedules_and_outlives_the_runtime) {
  std::atomic<int> calls{0};
  timer a, b;
  on_fiber([&] {
    a = call_later(1h, [&] { ++calls; });
    b = call_later(1h, [&] { calls += 10; });
  });
  EXPECT_TRUE(a.cancel());
  EXPECT_TRUE(b.reschedule(clock::now() + 1ms));
  EXPECT_TRUE(eventually([&] { return calls == 10; }));
  EXPECT_TRUE(a.reschedule(clock::now() + 1h));
  EXPECT_TRUE(a.cancel()) << "on its way or there already";
  EXPECT_TRUE(a.reschedule(clock::time_point::max()));
  EXPECT_TRUE(a.cancel()) << "never is a time, too";
  EXPECT_FALSE(a.cancel());
  EXPECT_TRUE(b.reschedule(clock::now() + 1h));
  stop();
  EXPECT_FALSE(b.reschedule(clock::now()));
  EXPECT_FALSE(b.cancel());
  EXPECT_EQ(calls, 10);
}

// A thread's new time is brought to the heap by a fiber, and may be taken back at any moment of
// that.
TEST_P(timer_test, a_new_time_that_is_on_its_way_can_be_cancelled) {
  std::atomic<int> calls{0};
  timer t;
  on_fiber([&] { t = call_later(1h, [&] { ++calls; }); });
  dice random(1);
  const int rounds = (sanitized ? 2'000 : 10'000) * static_cast<int>(scale());
  for (int i = 0; i < rounds && !HasFailure(); ++i) {
    EXPECT_TRUE(t.reschedule(clock::now() + 1h));
    random.spin(300);
    EXPECT_TRUE(t.cancel()) << "in round " << i;
    EXPECT_FALSE(t.cancel()) << "in round " << i;
  }
  EXPECT_EQ(calls, 0);
}

TEST_P(timer_test, shutdown_drops_what_has_not_begun) {
  std::atomic<int> calls{0};
  on_fiber([&] {
    for (int i = 0; i < 100; ++i) call_later(1h, [&] { ++calls; });
  });
  stop();
  EXPECT_EQ(calls, 0);
}

TEST_P(timer_test, a_plain_thread_is_refused) {
  try {
    call_later(1s, [] {});
    ADD_FAILURE();
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::operation_not_permitted);
  }
}

TEST_P(timer_test, an_error_of_the_function_is_reported) {
  std::atomic<int> unhandled{0};
  opts.on_unhandled = [&](std::exception_ptr, std::string_view) { ++unhandled; };
  on_fiber([&] {
    call_later(0s, [] { throw std::runtime_error("later"); });
    EXPECT_TRUE(eventually_on_fiber([&] { return unhandled == 1; }));
  });
}

TEST_P(timer_test, an_interval_ticks_in_step) {
  on_fiber([] {
    const auto began = clock::now();
    interval every(2ms);
    for (int i = 1; i <= 3; ++i) {
      every.tick();
      EXPECT_GE(clock::now() - began, i * 2ms);
    }
  });
  EXPECT_THROW(interval(0s), std::invalid_argument);
  EXPECT_THROW(interval(-1ms), std::invalid_argument);
}

// 10 periods pass unasked: what the next ticks are, in periods from the first deadline.
std::vector<long> ticks_after_a_gap(missed how) {
  constexpr auto period = 4ms;
  interval every(period, how);
  const auto first = clock::now();
  this_fiber::sleep_for(10 * period + period / 2);
  std::vector<long> at;
  for (int i = 0; i < 3; ++i) {
    every.tick();
    at.push_back((clock::now() - first) / period);
  }
  return at;
}

// F39; virtual_time_test.cpp has the exact numbers.
TEST_P(timer_test, missed_ticks_are_skipped_made_up_for_or_put_off) {
  on_fiber([] {
    // Bounds that a busy machine cannot break: nothing is early.
    const auto skip = ticks_after_a_gap(missed::skip);
    EXPECT_GE(skip[1], 11) << "in step with the first";
    EXPECT_GE(skip[2], 12);
    const auto burst = ticks_after_a_gap(missed::burst);
    EXPECT_GE(burst[0], 10) << "all of them late";
    const auto delay = ticks_after_a_gap(missed::delay);
    EXPECT_GE(delay[1], 11) << "a whole period after the late one";
    EXPECT_GE(delay[2], 12);
    // A hundred periods have passed: made up for, they are there at once.
    interval every(1ms, missed::burst);
    this_fiber::sleep_for(100ms);
    const auto began = clock::now();
    for (int i = 0; i < 100; ++i) every.tick();
    EXPECT_LE(clock::now() - began, 5s) << "no tick waits";
  });
}

class timer_race : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, timer_race, worker_counts(), name_of);

// F38: a cancel against the time itself: exactly one wins, and cancel says which.
TEST_P(timer_race, cancel_against_the_deadline) {
  on_fiber([] {
    dice random(3);
    std::uint64_t ran = 0, stopped = 0;
    const unsigned rounds = 1000 * scale();
    for (unsigned i = 0; i < rounds; ++i) {
      std::atomic<int> calls{0};
      timer t = call_later(std::chrono::microseconds(random(30)), [&] { ++calls; });
      const auto until = clock::now() + std::chrono::microseconds(random(60));
      while (clock::now() < until) this_fiber::yield();
      if (t.cancel()) {
        ++stopped;
        ASSERT_EQ(calls, 0);
      } else {
        ++ran;
        ASSERT_TRUE(eventually_on_fiber([&] { return calls == 1; }));
      }
    }
    expect_both_win("call_later", ran, stopped, "the deadline", "cancel");
  });
}

TEST_P(timer_race, cancel_by_another_thread_against_the_deadline) {
  dice random(5);
  std::uint64_t ran = 0, stopped = 0;
  const unsigned rounds = (sanitized ? 300 : 1000) * scale();
  for (unsigned i = 0; i < rounds; ++i) {
    std::atomic<int> calls{0};
    timer t = on_fiber(
        [&] { return call_later(std::chrono::microseconds(random(40)), [&] { ++calls; }); });
    const auto until = clock::now() + std::chrono::microseconds(random(400));
    while (clock::now() < until) {}
    if (t.cancel()) {
      ++stopped;
      ASSERT_EQ(calls, 0);
    } else {
      ++ran;
      ASSERT_TRUE(eventually([&] { return calls == 1; }));
    }
  }
  expect_both_win("call_later", ran, stopped, "the deadline", "another thread's cancel");
}

}  // namespace
}  // namespace coir::testing
