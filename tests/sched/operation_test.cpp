// Operations of the scripted driver, under both completion contracts: their end is their completion
// (home) or the claim of their wait (roaming), whatever cancellation, deadlines and closers ask for
// meanwhile.
#include <cerrno>
#include <cstdio>
#include <thread>

#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

using stop = sched::operation::stop;

class operation_test : public runtime_test {
 protected:
  bool home() const { return io.contract() == sched::completion_contract::home; }

  void wait_until_in_flight(int key) {
    ASSERT_TRUE(eventually([&] { return io.in_flight(key); }));
  }
  template <class T>
  void wait_until_parked(const task<T>& t) {
    ASSERT_TRUE(eventually([&] { return t.state() == task_state::parked || t.done(); }));
  }
};
INSTANTIATE_TEST_SUITE_P(, operation_test, fake_settings(), name_of);

TEST_P(operation_test, completes_with_the_result_that_the_script_gives) {
  auto t = rt().spawn([&] { return io.operate(1).result; });
  wait_until_in_flight(1);
  wait_until_parked(t);
  EXPECT_TRUE(io.complete(1, 42));
  EXPECT_EQ(t.get(), 42);
  EXPECT_FALSE(io.complete(1, 42)) << "it has completed";
}

TEST_P(operation_test, many_complete_in_any_order) {
  std::vector<task<int>> all;
  for (int key = 0; key < 200; ++key)
    all.push_back(rt().spawn([this, key] {
      int sum = 0;
      for (int round = 0; round < 5; ++round) sum += io.operate(key).result;
      return sum;
    }));
  unsigned random = 1;
  for (int left = 1000; left > 0;) {
    random = random * 1664525 + 1013904223;
    left -= io.complete(static_cast<int>((random >> 8) % 200), left);
  }
  long sum = 0;
  for (auto& t : all) sum += t.get();
  EXPECT_EQ(sum, 1000L * 1001 / 2);
}

TEST_P(operation_test, a_cancelled_one_returns_after_its_completion_only) {
  if (!home()) GTEST_SKIP() << "its wait is claimed like any other";
  io.when_stopped = on_stop::holds;
  auto t = rt().spawn([&] { io.operate(1); });
  wait_until_in_flight(1);
  wait_until_parked(t);
  t.cancel("stop it");
  EXPECT_TRUE(eventually([&] { return io.stop_was_asked(1); }));
  EXPECT_FALSE(t.wait_for(10ms)) << "the kernel has not let go of it";
  EXPECT_TRUE(io.complete(1, -ECANCELED));
  try {
    t.get();
    ADD_FAILURE();
  } catch (const cancelled& c) {
    EXPECT_EQ(c.reason(), "stop it");
  }
  EXPECT_EQ(io.stops.load(), 1U) << "asked once";
}

TEST_P(operation_test, a_cancelled_one_ends_as_cancelled) {
  auto t = rt().spawn([&] { io.operate(1); });
  wait_until_in_flight(1);
  wait_until_parked(t);
  t.cancel();
  EXPECT_THROW(t.get(), cancelled);
  EXPECT_TRUE(t.cancelled());
  EXPECT_FALSE(io.in_flight(1));
}

TEST_P(operation_test, one_that_completes_though_it_was_asked_to_stop_keeps_its_result) {
  if (!home()) GTEST_SKIP() << "the claim decides";
  io.when_stopped = on_stop::loses;
  bool thrown_later = false;
  auto t = rt().spawn([&] {
    const auto how = io.operate(1);
    EXPECT_EQ(how.stopped_by, stop::cancellation);
    try {
      this_fiber::yield();
    } catch (const cancelled&) {
      thrown_later = true;
    }
    return how.result;
  });
  wait_until_in_flight(1);
  wait_until_parked(t);
  t.cancel();
  EXPECT_EQ(t.get(), fake_io::lost_result);
  EXPECT_TRUE(thrown_later) << "the cancellation was lost";
}

TEST_P(operation_test, a_deadline_stops_it) {
  auto t = rt().spawn([&] {
    const auto start = clock::now();
    const auto how = io.operate(1, start + 5ms);
    EXPECT_GE(clock::now() - start, 5ms);
    EXPECT_EQ(how.result, -ETIMEDOUT);
    EXPECT_EQ(how.stopped_by, stop::deadline);
    const auto late = io.operate(2, clock::now() - 1s);
    EXPECT_EQ(late.result, -ETIMEDOUT) << "it had passed before";
  });
  t.get();
}

TEST_P(operation_test, a_deadline_waits_for_the_completion) {
  if (!home()) GTEST_SKIP() << "its wait is claimed like any other";
  io.when_stopped = on_stop::holds;
  auto t = rt().spawn([&] { return io.operate(1, clock::now() + 2ms).result; });
  EXPECT_TRUE(eventually([&] { return io.stop_was_asked(1); }));
  EXPECT_FALSE(t.wait_for(10ms));
  EXPECT_TRUE(io.complete(1, 9));
  EXPECT_EQ(t.get(), 9);
}

TEST_P(operation_test, one_that_completes_in_time_leaves_no_timer_to_strike_the_next) {
  auto t = rt().spawn([&] {
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(io.operate(1, clock::now() + 3ms, [&] { io.complete(1, i); }).result,
                home() ? i : -ETIMEDOUT);
      EXPECT_TRUE(event().wait_for(50us) == false);
    }
  });
  t.get();
}

TEST_P(operation_test, cancelled_before_it_has_parked_it_is_stopped) {
  auto box = std::make_shared<task<void>>();
  std::atomic<bool> set{false};
  *box = rt().spawn([&, box] {
    while (!set) this_fiber::yield();
    io.operate(1, sched::never, [&] { EXPECT_TRUE(box->cancel("in between")); });
  });
  set = true;
  EXPECT_THROW(box->get(), cancelled);
  EXPECT_EQ(io.stops.load(), home() ? 1U : 0U);
}

TEST_P(operation_test, cancelled_before_it_begins_it_never_starts) {
  std::atomic<bool> started{false}, asked{false};
  auto t = rt().spawn([&] {
    started = true;
    while (!asked) std::this_thread::yield();
    io.operate(1);
  });
  EXPECT_TRUE(eventually([&] { return started.load(); }));
  t.cancel();
  asked = true;
  EXPECT_THROW(t.get(), cancelled);
  EXPECT_EQ(io.stops.load(), 0U);
}

TEST_P(operation_test, shutdown_stops_what_is_in_flight) {
  std::vector<task<void>> all;
  for (int key = 0; key < 100; ++key) all.push_back(rt().spawn([this, key] { io.operate(key); }));
  for (int key = 0; key < 100; ++key) wait_until_in_flight(key);
  rt().shutdown();
  for (auto& t : all) EXPECT_TRUE(t.cancelled());
}

// --- foreign requests

struct stop_message : sched::request {
  std::atomic<bool> seen{false};
  stop_message(sched::waiter* who, sched::wait_generation which) {
    target = who;
    generation = which;
    what = kind::stop_operation;
    handled = [](sched::request& r) noexcept { static_cast<stop_message&>(r).seen = true; };
  }
};

TEST_P(operation_test, a_request_to_stop_it_reaches_its_owner) {
  if (!home()) GTEST_SKIP() << "its wait is claimed like any other";
  auto t = rt().spawn([&] { return io.operate(1); });
  wait_until_in_flight(1);
  wait_until_parked(t);
  sched::wait_generation generation = 0;
  sched::waiter* const who = io.waiter_of(1, generation);
  stop_message message(who, generation);
  sched::send_request(message);
  EXPECT_TRUE(eventually([&] { return message.seen.load(); }));
  const auto how = t.get();
  EXPECT_EQ(how.result, -ECANCELED);
  EXPECT_EQ(how.stopped_by, stop::closed);
}

TEST_P(operation_test, a_request_of_a_generation_that_is_gone_does_nothing) {
  auto t = rt().spawn([&] {
    io.operate(1);
    return io.operate(2).result;
  });
  wait_until_in_flight(1);
  sched::wait_generation old = 0;
  sched::waiter* const who = io.waiter_of(1, old);
  EXPECT_TRUE(io.complete(1));
  wait_until_in_flight(2);
  wait_until_parked(t);
  stop_message message(who, old);
  sched::send_request(message);
  EXPECT_TRUE(eventually([&] { return message.seen.load(); }));
  EXPECT_EQ(io.stops.load(), 0U);
  EXPECT_TRUE(io.complete(2, 8));
  EXPECT_EQ(t.get(), 8);
}

// --- with stealing

TEST_P(operation_test, the_next_operation_of_a_stolen_fiber_goes_to_the_thiefs_driver) {
  if (workers() == 1) GTEST_SKIP() << "nobody to steal";
  on_fiber([&] {
    set_pinned(true);
    std::atomic<unsigned> before{~0U}, after{~0U};
    auto moving = spawn({.name = "", .stack_size = 0, .pinned = true}, [&] {
      set_pinned(false);
      before = this_worker();
      this_fiber::sleep_for(5ms);  // and then its worker is a hog's
      after = this_worker();
      return io.operate(2).result;
    });
    while (moving.state() != task_state::parked) this_fiber::yield();
    const auto end = clock::now() + 20s;
    while (!io.in_flight(2) && clock::now() < end) std::this_thread::yield();
    EXPECT_NE(before.load(), after.load());
    EXPECT_EQ(io.started_on(2), after.load());
    std::printf("worker %u -> worker %u, whose driver has the operation\n", before.load(),
                after.load());
    EXPECT_TRUE(io.complete(2, 6));
    EXPECT_EQ(moving.get(), 6);
  });
}

TEST_P(operation_test, completions_are_polled_while_two_fibers_wake_each_other_for_ever) {
  std::atomic<bool> end{false};
  event ping, pong;
  auto a = rt().spawn([&] {
    while (!end) {
      ping.set();
      pong.wait();
      pong.reset();
    }
    ping.set();
  });
  auto b = rt().spawn([&] {
    while (!end) {
      ping.wait();
      ping.reset();
      pong.set();
    }
    pong.set();
  });
  auto t = rt().spawn([&] { return io.operate(1).result; });
  wait_until_in_flight(1);
  wait_until_parked(t);
  EXPECT_TRUE(io.complete(1, 3));
  EXPECT_TRUE(t.wait_for(5s)) << "I/O starves behind fibers that are always ready";
  end = true;
  a.wait();
  b.wait();
  EXPECT_EQ(t.get(), 3);
}

// --- races

TEST_P(operation_test, completion_and_cancellation_race_and_one_of_them_wins) {
  if (home()) io.when_stopped = on_stop::cancels;
  unsigned completed = 0, was_cancelled = 0;
  const unsigned rounds = (sanitized ? 200 : 400) * scale();
  for (unsigned i = 0; i < rounds; ++i) {
    auto t = rt().spawn([&] { return io.operate(1).result; });
    while (!io.in_flight(1)) std::this_thread::yield();
    bool done = false;
    // Under the home contract both only leave a message, and the worker takes them up in its own
    // order.
    if (i % 2 == 0) {
      t.cancel();
      for (unsigned k = 0; i % 4 == 0 && k < 100 && io.in_flight(1); ++k) std::this_thread::yield();
      done = io.complete(1, 5);
    } else {
      done = io.complete(1, 5);
      t.cancel();
    }
    try {
      EXPECT_EQ(t.get(), 5);
      EXPECT_TRUE(done);
      ++completed;
    } catch (const cancelled&) {
      ++was_cancelled;
    }
    ASSERT_FALSE(io.in_flight(1));
  }
  expect_both_win("an operation", completed, was_cancelled, "its completion", "cancellation");
}

}  // namespace
}  // namespace coir::testing
