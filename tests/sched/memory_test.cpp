// F2: whichever allocation fails, the call that needed it throws std::bad_alloc and has done
// nothing; nothing is left of it when its runtime has gone, and the next call works.
#include <coir/coroutine/generator.hpp>
#include <coir/sched/big_stack.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sched/context_var.hpp>
#include <coir/sched/fiber_local.hpp>
#include <coir/sched/gather.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sched/task_group.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sched/timer.hpp>
#include <coir/sched/wait.hpp>
#include <coir/sync/async.hpp>
#include <coir/sync/barrier.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/condition_variable_any.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/latch.hpp>
#include <coir/sync/offload_async.hpp>
#include <coir/sync/promise.hpp>
#include <coir/sync/select.hpp>
#include <coir/sync/watch.hpp>

#include <array>
#include <forward_list>
#include <functional>
#include <mutex>

#include "../sync/waiting.hpp"
#include "memory_sweep.hpp"

namespace coir::testing {
namespace {

const spawn_options named{
    .name = "a name that has to be allocated for its length", .stack_size = 0, .pinned = false};

TEST(memory_test, spawn) {
  sweep([] { EXPECT_EQ(spawn([] { return 1; }).get(), 1); });
  EXPECT_GT(sweep([] { spawn(spawn_options(named), [] {}).get(); }), 1);
  EXPECT_GT(sweep([] {
              const std::array<char, 4000> large{};
              EXPECT_EQ(spawn([large] { return large; }).get().size(), 4000U);
            }),
            1);
  sweep([] { EXPECT_TRUE(throws<int>([&] { spawn([] { throw 3; }).get(); })); });
}

// A task that finds no stack waits for one, and if none can come free it ends with an error.
TEST(memory_test, hundreds_at_once_with_stacks_of_every_size) {
  const int n = sweep(
      [] {
        event go;
        std::vector<task<void>> all;
        for (std::size_t i = 0; i < 300; ++i)
          all.push_back(
              spawn({.name = "", .stack_size = std::size_t{16384} << i % 5, .pinned = false},
                    [&] { go.wait(); }));
        for (int i = 0; i < 20; ++i) this_fiber::yield();
        go.set();
        for (auto& t : all) t.get();
      },
      then::copes);
  EXPECT_GT(n, 20);
}

TEST(memory_test, what_a_fiber_has_and_is_told) {
  sweep([] { this_fiber::set_name("another name that has to be allocated"); });
  sweep([] { EXPECT_FALSE(this_fiber::stop_token().stop_requested()); });
  sweep([] {
    event go;
    int called = 0;
    auto t = spawn([&] { go.wait(); });
    wait_until_parked(t);
    t.on_done([&] { ++called; });
    t.on_done([&, large = std::array<char, 100>{}] { called += large[0] == 0; });
    go.set();
    t.get();
    EXPECT_EQ(called, 2);
  });
}

TEST(memory_test, a_cancellation_needs_none_but_for_its_reason) {
  sweep(
      [] {
        event begun;
        auto t = spawn([&] {
          begun.set();
          this_fiber::sleep_for(1h);
        });
        begun.wait();
        EXPECT_TRUE(t.cancel("a reason that is long enough to be allocated"));
        t.wait();
        EXPECT_TRUE(t.cancelled());
      },
      then::copes);
}

TEST(memory_test, errors_that_nobody_reads) {
  sweep(
      [] {
        spawn(spawn_options(named), [] { throw 1; }).detach();
        this_fiber::yield();
      },
      then::copes);
}

TEST(memory_test, timed_waits) {
  EXPECT_GT(sweep([] { this_fiber::sleep_for(1ms); }), 0);
  const auto waits = [](auto&& wait) {
    return [wait] {
      for (int i = 0; i < 3; ++i) EXPECT_FALSE(wait());
    };
  };
  EXPECT_GT(sweep(waits([] { return event().wait_for(1us); })), 0);
  EXPECT_GT(sweep(waits([] { return counting_semaphore<>(1).try_acquire_for(1us, 2); })), 0);
  EXPECT_GT(sweep([] {
              promise<int> p;
              const future<int> f = p.get_future();
              EXPECT_EQ(f.wait_for(1us), std::future_status::timeout);
              p.set_value(1);
            }),
            1);
  EXPECT_GT(sweep(waits([] { return barrier<>(2).arrive_and_wait_for(1us).has_value(); })), 0);
  EXPECT_GT(sweep([] {
              event go;
              auto t = spawn([&] { go.wait(); });
              EXPECT_FALSE(t.wait_for(1us));
              wait_until_parked(t);
              EXPECT_FALSE(t.wait_for(1us));
              go.set();
              t.get();
            }),
            0);
}

TEST(memory_test, a_timed_arrival_that_is_refused_has_not_been_made) {
  sweep([] {
    latch three(3);
    barrier<> two(2);
    int left = 3;
    try {
      three.arrive_and_wait_for(1us);
      --left;
      two.arrive_and_wait_for(1us);
    } catch (const std::bad_alloc&) {
      allow(-1);
      EXPECT_EQ(two.waiting(), 0U);
      for (; left > 0; --left) three.count_down();  // fatal below zero
      EXPECT_TRUE(three.try_wait());
      limit_of_this_thread().refused = 1;
      throw;
    }
    three.count_down(2);
  });
}

TEST(memory_test, condition_waits_hold_their_lock_again) {
  sweep([] {
    mutex m;
    condition_variable c;
    condition_variable_any any;
    std::unique_lock lock(m);
    try {
      c.wait_for(lock, 1us);
      any.wait_for(lock, 1us);
    } catch (const std::bad_alloc&) {
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(m.try_lock());
      throw;
    }
  });
}

TEST(memory_test, timeouts) {
  sweep([] {
    EXPECT_EQ(with_timeout(1h, [] { return 2; }), 2);
    EXPECT_TRUE(throws<timed_out>([&] { with_timeout(1us, [] { this_fiber::sleep_for(1h); }); }));
    EXPECT_TRUE(throws<timed_out>([&] {
      with_timeout(1h, [](timeout_scope& s) {
        s.reschedule(clock::now());
        event().wait();
      });
    }));
  });
  sweep([] {
    shield([] {
      EXPECT_TRUE(throws<timed_out>([&] { with_timeout(1us, [] { this_fiber::sleep_for(1h); }); }));
    });
  });
}

// A timer that goes does not cancel its call; this one does.
struct cancelled_at_the_end {
  timer t;
  ~cancelled_at_the_end() { t.cancel(); }
};

TEST(memory_test, calls_that_are_put_off) {
  sweep([] {
    int ran = 0;
    event last;
    cancelled_at_the_end never{call_later(1h, [&] { ran += 100; })};
    cancelled_at_the_end call{call_later(1h, [&] { ++ran, last.set(); })};
    EXPECT_TRUE(never.t.cancel());
    EXPECT_TRUE(call.t.reschedule(clock::now()));
    last.wait();
    last.reset();
    EXPECT_TRUE(call.t.reschedule(clock::now() + 1us)) << "after it has run";
    last.wait();
    EXPECT_EQ(ran, 2);
    for (int i = 0; i < 40; ++i) call_later(1h, [&] { ++ran; }).cancel();
  });
}

TEST(memory_test, a_call_that_cannot_be_rescheduled_comes_when_it_was_to_come) {
  sweep([] {
    event ran;
    cancelled_at_the_end call{call_later(200us, [&] { ran.set(); })};
    try {
      call.t.reschedule(clock::now() + 100us);
    } catch (const std::bad_alloc&) {
      allow(-1);
      ran.wait();
      limit_of_this_thread().refused = 1;
      throw;
    }
    ran.wait();
  });
}

TEST(memory_test, ticks) {
  sweep([] {
    interval every(1us);
    for (int i = 0; i < 3; ++i) every.tick();
  });
}

TEST(memory_test, groups) {
  sweep([] {
    task_group g;
    event go;
    auto first = g.spawn([&] {
      go.wait();
      return 1;
    });
    for (int i = 0; i < 10; ++i) g.spawn([&] { go.wait(); });
    go.set();
    g.join();
    EXPECT_EQ(first.get(), 1);
  });
  sweep([] {
    task_group few(2);
    for (int i = 0; i < 6; ++i) few.spawn([] { this_fiber::yield(); });
    few.join();
  });
  sweep([] {
    EXPECT_TRUE(throws<int>([&] {
      with_group([](task_group& g) {
        g.spawn([] { throw 7; });
        event().wait();
      });
    }));
  });
  sweep([] {
    event never_set;
    task_group g;
    for (int i = 0; i < 3; ++i)
      g.spawn([&, i] {
        try {
          if (i != 2) never_set.wait();
        } catch (const cancelled&) {}
        throw 7;
      });
    EXPECT_TRUE(throws<int>([&] { g.join(); }));
    EXPECT_EQ(g.errors().size(), 3U);
  });
}

TEST(memory_test, teams) {
  sweep([] {
    const auto [a, b] = gather([] { return 1; }, [] { return std::string(100, 'x'); });
    EXPECT_EQ(a + static_cast<int>(b.size()), 101);
  });
  sweep([] {
    std::forward_list<std::function<int()>> unsized;
    for (int i = 0; i < 20; ++i) unsized.push_front([i] { return i; });
    EXPECT_EQ(gather(unsized).size(), 20U);
    EXPECT_EQ(settle(unsized).size(), 20U);
    EXPECT_LT(race(unsized), 20);
  });
  sweep([] {
    try {
      race([] { throw 1; }, [] { throw 2; });
    } catch (const all_failed& e) {
      EXPECT_EQ(e.errors().size(), 2U);
    }
  });
  sweep([] {
    std::vector<task<int>> all;
    for (int i = 0; i < 5; ++i) all.push_back(spawn([i] { return i; }));
    EXPECT_EQ(wait(all, 1h).done.size(), 5U);
    int sum = 0;
    for (auto& t : as_completed(all)) sum += t.get();
    EXPECT_EQ(sum, 10);
  });
}

TEST(memory_test, futures) {
  sweep([] {
    promise<std::string> p;
    auto f = p.get_future();
    int called = 0;
    f.on_done([&, large = std::array<char, 100>{}] { called += large[0] == 0; });
    auto waits = spawn([&] { return f.get(); });
    wait_until_parked(waits);
    p.set_value("value");
    EXPECT_EQ(waits.get(), "value");
    EXPECT_EQ(called, 1);
  });
  sweep([] { EXPECT_EQ(async([] { return 3; }).get(), 3); });
  sweep(
      [] {
        auto f = async([] { this_fiber::sleep_for(1h); });
        f.cancel("a reason that is long enough to be allocated");
        EXPECT_TRUE(throws<cancelled>([&] { f.get(); }));
      },
      then::copes);
}

TEST(memory_test, calls_on_other_threads) {
  sweep([] {
    EXPECT_EQ(offload([] { return 5; }), 5);
    EXPECT_EQ(offload_async([] { return 6; }).get(), 6);
  });
}

TEST(memory_test, values_of_fibers) {
  static fiber_local<std::string> local;
  static context_var<std::string> variable("usual");
  sweep([] {
    *local = "a text that has to be allocated";
    variable.set("another text that has to be allocated");
    const auto here = variable.scoped("a third text that has to be allocated");
    auto child = spawn([] { return variable.get().size() + local->size(); });
    EXPECT_EQ(child.get(), 37U);
    for (int i = 0; i < 40; ++i) variable.set("x");
  });
}

TEST(memory_test, coroutines_and_big_stacks) {
  sweep([] {
    int sum = 0;
    for (int v : generator<int>([](auto& yield) {
           for (int i = 0; i < 5; ++i) yield(i);
         }))
      sum += v;
    EXPECT_EQ(sum, 10);
    EXPECT_EQ(on_big_stack(1 << 20, [] { return 4; }), 4);
  });
}

TEST(memory_test, a_waiting_fiber_keeps_its_place_when_others_are_refused) {
  sweep([] {
    event go;
    std::vector<task<void>> waiting;
    waiting.reserve(3);
    for (int i = 0; i < 3; ++i) waiting.push_back(spawn([&] { go.wait(); }));
    struct open_at_the_end {  // before the tasks are joined
      event& e;
      ~open_at_the_end() { e.set(); }
    } guard{go};
    for (auto& t : waiting) wait_until_parked(t);
    EXPECT_FALSE(event().wait_for(1us));
  });
}

}  // namespace
}  // namespace coir::testing
