// Time that a test moves: what strikes when, exactly, whatever the machine does meanwhile.
#include <coir/sched/cancelled.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sched/timer.hpp>
#include <coir/sync/event.hpp>

#include <algorithm>

#include "manual_clock.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class virtual_time_test : public ::testing::TestWithParam<unsigned> {
 protected:
  virtual_time_test() {
    options o;
    o.workers = GetParam();
    runtime_ = time.make_runtime(o);
  }
  ~virtual_time_test() override {
    EXPECT_TRUE(eventually([&] { return runtime_->metrics().fibers_alive == 0; }));
  }
  runtime& rt() { return *runtime_; }

  // On a plain thread. Ages of the virtual clock are moments of the real one.
  template <class Predicate>
  static bool soon(Predicate&& holds) {
    return eventually(holds, 50s);
  }

  manual_clock time;

 private:
  std::unique_ptr<runtime> runtime_;
};
INSTANTIATE_TEST_SUITE_P(workers, virtual_time_test, ::testing::Values(1U, 2U, 4U, 8U));

// F36
TEST_P(virtual_time_test, a_hundred_days_of_calls_run_once_in_order_and_none_early) {
  constexpr std::chrono::days all_days{100};
  const unsigned n = sanitized ? 4'000 : 100'000;
  struct call {
    clock::time_point at;
    std::atomic<int> ran{0};
  };
  std::vector<call> calls(n);
  dice random(36);
  const auto start = time.now();
  for (call& c : calls)
    c.at = start + std::chrono::seconds(random(all_days / 1s)) +
           std::chrono::nanoseconds(random(1'000'000'000));
  std::atomic<unsigned> ran{0}, early{0};
  std::vector<clock::time_point> order;  // of a lone worker
  std::vector<task<void>> starters;      // each on its worker's heap
  for (unsigned w = 0; w < GetParam(); ++w)
    starters.push_back(rt().spawn([&, w] {
      for (unsigned i = w; i < n; i += GetParam()) {
        call_at(calls[i].at, [&, i] {
          early += clock::now() < calls[i].at;
          ++calls[i].ran;
          if (GetParam() == 1) order.push_back(calls[i].at);
          ++ran;
        });
        if (i % 64 == 0) this_fiber::yield();
      }
    }));
  for (auto& s : starters) s.get();
  const auto half = start + all_days / 2;
  const auto in_the_first =
      std::count_if(calls.begin(), calls.end(), [&](const call& c) { return c.at <= half; });
  time.advance(all_days / 2);
  EXPECT_TRUE(soon([&] { return ran >= in_the_first; })) << ran << " of " << in_the_first;
  rt().block_on([] { this_fiber::yield(); });  // a turn more
  EXPECT_EQ(ran, in_the_first);
  time.advance(all_days / 2 + 1s);
  EXPECT_TRUE(soon([&] { return ran >= n; })) << ran << " of " << n;
  EXPECT_EQ(early, 0U);
  for (const call& c : calls) ASSERT_EQ(c.ran, 1);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
  EXPECT_EQ(order.size(), GetParam() == 1 ? n : 0);
  EXPECT_TRUE(soon([&] { return rt().metrics().timers == 0; }));
}

TEST_P(virtual_time_test, a_sleep_ends_at_its_nanosecond) {
  std::atomic<bool> woken{false};
  auto t = rt().spawn([&] {
    this_fiber::sleep_for(std::chrono::days(30));
    woken = true;
  });
  ASSERT_TRUE(soon([&] { return t.state() == task_state::parked; }));
  time.advance(std::chrono::days(30) - 1ns);
  for (int i = 0; i < 20; ++i) rt().block_on([] { this_fiber::yield(); });
  EXPECT_FALSE(woken);
  time.advance(1ns);
  t.get();
}

TEST_P(virtual_time_test, of_nested_timeouts_the_one_whose_time_has_come_strikes) {
  std::atomic<int> stage{0};
  auto t = rt().spawn([&] {
    try {
      with_timeout(2h, [&] {
        EXPECT_THROW(with_timeout(1h, [] { event().wait(); }), timed_out);
        ++stage;
        event().wait();
      });
    } catch (const timed_out&) {
      ++stage;
    }
  });
  const auto parked_at = [&](int s) { return stage == s && t.state() == task_state::parked; };
  ASSERT_TRUE(soon([&] { return parked_at(0); }));
  time.advance(1h);
  ASSERT_TRUE(soon([&] { return parked_at(1); }));
  time.advance(59min);
  rt().block_on([] { this_fiber::yield(); });
  EXPECT_TRUE(parked_at(1));
  time.advance(1min);
  t.get();
  EXPECT_EQ(stage, 2);
}

// F39: the machine was asleep, or its clock was set: an hour and a half period passes at once.
TEST_P(virtual_time_test, a_jump_of_the_clock_is_one_tick_unless_a_burst_is_asked_for) {
  struct expected {
    missed how;
    int after_jump, half_a_period_later, a_period_later;
  };
  for (const expected e : {expected{missed::skip, 1, 2, 2}, expected{missed::delay, 1, 1, 2},
                           expected{missed::burst, 3600, 3601, 3601}}) {
    std::atomic<int> ticks{0};
    auto ticking = rt().spawn([&] {
      for (interval every(1s, e.how);; ++ticks) every.tick();
    });
    const auto settled = [&](int at) {
      return soon([&] { return ticks >= at && ticking.state() == task_state::parked; }) &&
             ticks == at;
    };
    ASSERT_TRUE(settled(0));
    time.advance(1h + 500ms);
    EXPECT_TRUE(settled(e.after_jump)) << ticks;
    time.advance(500ms);
    EXPECT_TRUE(settled(e.half_a_period_later)) << ticks;
    time.advance(499ms);
    rt().block_on([] { this_fiber::yield(); });
    EXPECT_TRUE(settled(e.half_a_period_later)) << "not early: " << ticks;
    time.advance(1ms);
    EXPECT_TRUE(settled(e.a_period_later)) << ticks;
    ticking.cancel();
    ticking.wait();
  }
}

// F40: whatever is due at once, the worker looks at the kernel and at what others bring in between.
TEST_P(virtual_time_test, many_calls_of_one_moment_leave_turns_to_everything_else) {
  if (GetParam() != 1) GTEST_SKIP() << "the turns of one worker";
  const unsigned n = (sanitized ? 4'000 : 50'000) * scale();
  time.pretend_io = true;
  std::atomic<unsigned> ran{0}, ran_before_the_other{0};
  std::atomic<std::uint64_t> polls_at_first{0}, polls_at_last{0};
  std::thread other;
  rt().block_on([&] {
    const auto at = clock::now() + 1h;
    for (unsigned i = 0; i < n; ++i)
      call_at(at, [&] {
        if (++ran == 1) {
          polls_at_first = time.polls.load();
          other =
              std::thread([&] { rt().spawn([&] { ran_before_the_other = ran.load(); }).detach(); });
          other.join();  // it has been brought
        }
        if (ran == n) polls_at_last = time.polls.load();
      });
  });
  time.advance(1h);
  EXPECT_TRUE(soon([&] { return ran == n; }));
  EXPECT_TRUE(soon([&] { return ran_before_the_other != 0; }));
  EXPECT_LT(ran_before_the_other, 1000U);
  EXPECT_GT(polls_at_last - polls_at_first, n / 256);
  time.pretend_io = false;
}

}  // namespace
}  // namespace coir::testing
