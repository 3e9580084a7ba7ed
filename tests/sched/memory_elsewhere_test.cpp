// F2, as memory_test.cpp, where more than one thread has a part in it: what plain threads ask, what
// a rescuer needs, and the beginning and the end of runtimes.
#include <coir/coroutine/coroutine.hpp>
#include <coir/coroutine/generator.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sched/context_var.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sched/timer.hpp>
#include <coir/sync/event.hpp>

#include <algorithm>
#include <memory>
#include <thread>

#include "../sync/waiting.hpp"
#include "hogs.hpp"
#include "memory_sweep.hpp"

namespace coir::testing {
namespace {

// The first, because later a thread that has ended may have left what this one needs.
TEST(memory_elsewhere, a_thread_of_the_pool_that_has_none_for_the_context_says_so) {
  static context_var<int> variable(1);
  make_runtime(1)->block_on([] {
    offload([] {});  // a thread is there, and has not needed anything of its own
    const auto here = variable.scoped(2);
    int ran = 0;
    const auto call = [&] { offload([&] { ran += variable.get(); }); };
    allow_everywhere(0);
    const bool refused = throws<std::bad_alloc>(call);
    allow_everywhere(-1);
    EXPECT_EQ(ran, refused ? 0 : 2);
    call();
    EXPECT_GE(ran, 2);
  });
}

TEST(memory_elsewhere, threads_that_spawn_and_reschedule) {
  // What a thread starts begins with a copy of this, for which a record needs memory.
  static context_var<int> variable(1);
  const auto here = variable.scoped(2);
  make_runtime(2)->block_on([] { this_fiber::sleep_for(1us); });
  for (int k = 0;; ++k) {
    const long before = allocations_alive;
    options o;
    o.workers = 2;
    auto r = make_runtime(o);
    std::atomic<int> ran{0};
    timer t = r->block_on([&] { return call_later(1h, [&] { ++ran; }); });
    bool moved = false, spawned = false;
    const outcome how = run_refusing(k, [&] {
      moved = t.reschedule(clock::now() + 30min);
      r->spawn([] {}).detach();
      spawned = true;
    });
    EXPECT_EQ(how.threw, how.refused);
    EXPECT_EQ(spawned, !how.refused);
    EXPECT_TRUE(t.cancel()) << "as it was, or moved: it was to run. k " << k << ", " << moved;
    EXPECT_EQ(ran, 0);
    t = {};
    r.reset();
    EXPECT_TRUE(eventually([&] { return allocations_alive == before; })) << "k " << k;
    if (how.refused) continue;
    EXPECT_GT(k, 0);
    break;
  }
}

// A fiber of a fresh runtime that waits in a timeout, which others may move.
struct timed_wait {
  explicit timed_wait(clock::duration d)
      : fiber(runtime->spawn([this, d] {
          with_timeout(d, [&](timeout_scope& s) {
            open = &s;
            event().wait();
          });
        })) {
    EXPECT_TRUE(eventually([&] { return fiber.state() == task_state::parked || fiber.done(); }));
  }
  std::unique_ptr<coir::runtime> runtime = make_runtime(2);
  std::atomic<timeout_scope*> open{nullptr};
  task<void> fiber;
};

TEST(memory_elsewhere, a_timeout_that_a_thread_cannot_move_stays_where_it_was) {
  static context_var<int> variable(1);
  const auto here = variable.scoped(2);
  for (int k = 0;; ++k) {
    timed_wait waits(1h);
    timeout_scope& scope = *waits.open.load();
    const auto before = scope.deadline();
    const outcome how = run_refusing(k, [&] { scope.reschedule(clock::now()); });
    EXPECT_EQ(how.threw, how.refused);
    if (how.refused) {
      EXPECT_EQ(scope.deadline(), before);
      EXPECT_FALSE(waits.fiber.done());
      continue;
    }
    EXPECT_TRUE(throws<timed_out>([&] { waits.fiber.get(); }));
    EXPECT_GT(k, 0);
    break;
  }
}

TEST(memory_elsewhere, a_timeout_that_a_thread_cannot_move_strikes_when_it_was_to_strike) {
  static context_var<int> variable(1);
  const auto here = variable.scoped(2);
  for (int k = 0;; ++k) {
    timed_wait waits(300ms);
    const outcome how = run_refusing(k, [&] {
      try {
        waits.open.load()->reschedule(clock::now() + 10ms);
      } catch (const std::logic_error&) {}  // it has expired: this machine is slow
    });
    ASSERT_TRUE(waits.fiber.wait_for(20s)) << "k " << k;
    EXPECT_TRUE(throws<timed_out>([&] { waits.fiber.get(); }));
    if (!how.refused) break;
  }
}

// The rescuer of a hog's timers has no entry of its own that has come free.
TEST(memory_elsewhere, a_timeout_whose_rescuer_finds_no_memory_strikes_when_there_is_some) {
  auto r = make_runtime(2);
  r->block_on([] {
    set_pinned(true);
    event never_set;
    std::atomic<int> expired{0};
    auto t = spawn(here_only, [&] {
      set_pinned(false);
      EXPECT_TRUE(throws<timed_out>([&] {
        with_timeout(60ms, [&] {
          EXPECT_TRUE(throws<timed_out>([&] { with_timeout(20ms, [&] { never_set.wait(); }); }));
          ++expired;
          never_set.wait();
        });
      }));
      ++expired;
    });
    wait_until_parked(t);
    allow_everywhere(0);
    EXPECT_TRUE(hog_until([] { return refused_everywhere != 0; }));
    allow_everywhere(-1);
    EXPECT_TRUE(hog_until([&] { return expired == 2; }));
    if (expired == 2) t.wait();
  });
}

TEST(memory_elsewhere, a_coroutine_is_unwound_by_a_thread_that_has_no_memory_for_its_first) {
  int unwound = 0;
  struct count {
    int& n;
    ~count() { ++n; }
  };
  generator<int> in_the_middle([&](auto& yield) {
    const count c{unwound};
    yield(1);
  });
  coroutine<void()> closed([&](auto& yield) {
    const count c{unwound};
    yield();
  });
  generator<int> not_begun([c = std::make_unique<int>(1)](auto& yield) { yield(*c); });
  EXPECT_EQ(*in_the_middle.begin(), 1);
  EXPECT_TRUE(closed.resume());
  std::thread([&] {
    static_cast<void>(sched::current_host());
    allow(0);
    closed.close();
    { const auto gone = std::move(in_the_middle); }
    { const auto gone = std::move(not_begun); }
    EXPECT_GT(refusals(), 0);
    allow(-1);
    for (int v : generator<int>([](auto& yield) { yield(3); })) EXPECT_EQ(v, 3);
  }).join();
  EXPECT_EQ(unwound, 2);
}

TEST(memory_elsewhere, an_error_that_nobody_reads_is_reported_without_memory_for_its_name) {
  std::atomic<int> reported{0};
  options o;
  o.workers = 1;
  o.on_unhandled = [&](const std::exception_ptr&, std::string_view) { ++reported; };
  auto r = make_runtime(o);
  r->block_on([] {
    spawn({.name = "a name that is not short at all", .stack_size = 0, .pinned = false}, [] {
      throw 1;
    }).detach();
    allow_everywhere(0);
    this_fiber::yield();
    allow_everywhere(-1);
  });
  EXPECT_EQ(reported, 1);
}

TEST(memory_elsewhere, runtimes_that_cannot_be_made_leave_nothing) {
  make_runtime(2)->block_on([] {});
  const std::size_t threads = running_threads();
  for (int k = 0;; ++k) {
    const long before = allocations_alive;
    options o;
    o.workers = 2;
    const outcome how = run_refusing(k, [&] {
      auto r = make_runtime(o);
      r->block_on([] {});
    });
    EXPECT_EQ(how.threw, how.refused) << "k " << k;
    EXPECT_EQ(allocations_alive - before, 0) << "k " << k;
    EXPECT_TRUE(eventually([&] { return running_threads() <= threads; }));
    if (how.refused) continue;
    EXPECT_GT(k, 5);
    break;
  }
}

// Without any memory at all fibers are cancelled and unwound, and their runtime ends.
TEST(memory_elsewhere, a_runtime_ends_without_memory) {
  for (const unsigned workers : {1U, 2U, 4U, 8U}) {
    auto r = make_runtime(workers);
    std::atomic<int> unwound{0};
    event never_set;
    for (int i = 0; i < 50; ++i)
      r->spawn([&] {
         struct count {
           std::atomic<int>& n;
           ~count() { ++n; }
         } guard{unwound};
         if (unwound % 2)
           never_set.wait();
         else
           (void)never_set.wait_for(1h);
       }).detach();
    ASSERT_TRUE(eventually([&] {
      const auto rows = r->fibers();
      return std::all_of(rows.begin(), rows.end(),
                         [](const fiber_info& f) { return f.state == task_state::parked; });
    }));
    allow_everywhere(0);
    r.reset();
    allow_everywhere(-1);
    EXPECT_EQ(unwound, 50);
  }
}

}  // namespace
}  // namespace coir::testing
