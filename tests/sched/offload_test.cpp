// offload: blocking calls on threads of their own.
#include <coir/sched/gather.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sched/task_group.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/offload_async.hpp>

#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <system_error>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class offload_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, offload_test, every_setting(), name_of);

TEST_P(offload_test, results_and_errors_come_back) {
  on_fiber([] {
    const auto here = std::this_thread::get_id();
    EXPECT_EQ(offload([] { return 3; }), 3);
    EXPECT_EQ(*offload([p = std::make_unique<int>(4)]() mutable { return std::move(p); }), 4);
    int x = 1;
    offload([&x] { x = 2; });
    EXPECT_EQ(x, 2);
    EXPECT_THROW(offload([] { throw std::out_of_range("there"); }), std::out_of_range);
    EXPECT_NE(offload([] { return std::this_thread::get_id(); }), here);
    EXPECT_EQ(offload([] { return this_fiber::id(); }), fiber_id{}) << "it is on no fiber";
  });
}

TEST_P(offload_test, other_fibers_go_on_meanwhile) {
  on_fiber([] {
    std::atomic<bool> go_on{false};
    auto t = spawn([&] { go_on = true; });
    offload([&] { EXPECT_TRUE(eventually([&] { return go_on.load(); })); });
    t.get();
  });
}

TEST_P(offload_test, as_many_threads_as_jobs_up_to_the_bound) {
  opts.blocking_threads = 3;
  on_fiber([] {
    std::atomic<int> now{0}, most{0};
    std::vector<std::function<void()>> jobs(12, [&] {
      offload([&] {
        const int n = ++now;
        int seen = most;
        while (n > seen && !most.compare_exchange_weak(seen, n)) {}
        std::this_thread::sleep_for(1ms);
        --now;
      });
    });
    gather(jobs);
    EXPECT_LE(most, 3);
    EXPECT_GE(most, 2) << "they run side by side";
    EXPECT_LE(runtime::current().metrics().blocking_threads, 3U);
  });
}

TEST_P(offload_test, a_thread_is_used_again) {
  on_fiber([] {
    for (int i = 0; i < 200; ++i) offload([] {});
    // One that has just answered is not idle yet when the next job comes: how many that happens to
    // depends on the load.
    EXPECT_LE(runtime::current().metrics().blocking_threads, 100U);
  });
}

// One thread looks for its next job before it sleeps: it is promised to one, and the other job gets
// another.
TEST_P(offload_test, jobs_that_come_while_a_thread_polls_do_not_rely_on_the_same_one) {
  opts.idle_poll = std::chrono::milliseconds(1);
  on_fiber([] {
    for (int i = 0; i < 50; ++i) {
      offload([] {});  // whose thread polls now
      std::atomic<int> met{0};
      const auto meet = [&met] {
        offload([&met] {
          ++met;
          return eventually([&met] { return met == 2; });
        });
      };
      gather(meet, meet);
    }
  });
}

TEST_P(offload_test, cancelled_before_it_begins_it_never_runs) {
  opts.blocking_threads = 1;
  on_fiber([] {
    event entered;
    std::atomic<bool> let_go{false};
    auto busy = spawn([&] {
      offload([&] {
        entered.set();
        EXPECT_TRUE(eventually([&] { return let_go.load(); }));
      });
    });
    entered.wait();
    auto waits = spawn([] { offload([] { ADD_FAILURE() << "it has been cancelled"; }); });
    while (waits.state() != task_state::parked) this_fiber::yield();
    waits.cancel();
    waits.wait();
    EXPECT_TRUE(waits.cancelled());
    let_go = true;
    busy.get();
  });
}

TEST_P(offload_test, cancelled_later_it_is_waited_for_and_its_result_returned) {
  on_fiber([] {
    event entered;
    std::atomic<bool> let_go{false};
    auto t = spawn([&] {
      const int r = offload([&] {
        entered.set();
        EXPECT_TRUE(eventually([&] { return let_go.load(); }));
        return 5;
      });
      EXPECT_EQ(r, 5);
      EXPECT_TRUE(this_fiber::cancel_requested());
      this_fiber::yield();
      ADD_FAILURE() << "the cancellation comes at the next call";
    });
    entered.wait();
    t.cancel();
    EXPECT_FALSE(t.wait_for(2ms));
    let_go = true;
    t.wait();
    EXPECT_TRUE(t.cancelled());
  });
}

TEST_P(offload_test, a_job_may_use_locks_and_events_of_fibers) {
  on_fiber([] {
    event from_fiber, from_thread;
    auto t = spawn([&] {
      from_thread.wait();
      from_fiber.set();
    });
    offload([&] {
      from_thread.set();
      from_fiber.wait();
    });
    t.get();
  });
}

TEST_P(offload_test, a_plain_thread_is_refused) {
  EXPECT_THROW(offload([] {}), std::system_error);
  options none;
  none.blocking_threads = 0;
  EXPECT_THROW(make_runtime(none), std::invalid_argument);
}

TEST_P(offload_test, shutdown_waits_for_the_jobs) {
  std::atomic<bool> ended{false}, entered{false};
  auto t = rt().spawn([&] {
    offload([&] {
      entered = true;
      std::this_thread::sleep_for(2ms);
      ended = true;
    });
  });
  ASSERT_TRUE(eventually([&] { return entered.load(); }));
  rt().shutdown();
  EXPECT_TRUE(ended);
}

TEST_P(offload_test, many_at_once_from_many_fibers) {
  opts.blocking_threads = 8;
  on_fiber([] {
    std::atomic<int> ran{0};
    task_group g;
    for (int i = 0; i < 200; ++i)
      g.spawn([&] {
        for (int k = 0; k < 5; ++k) offload([&] { ++ran; });
      });
    g.join();
    EXPECT_EQ(ran, 1000);
  });
}

TEST_P(offload_test, async_gives_a_future_and_its_result_may_be_dropped) {
  opts.blocking_threads = 1;
  on_fiber([] {
    EXPECT_EQ(offload_async([] { return 3; }).get(), 3);
    EXPECT_EQ(
        *offload_async([p = std::make_unique<int>(4)]() mutable { return std::move(p); }).get(), 4);
    EXPECT_THROW(offload_async([] { throw std::out_of_range("there"); }).get(), std::out_of_range);

    auto let_go = std::make_shared<std::atomic<bool>>(false);
    auto entered = std::make_shared<event>();
    auto waits = spawn([&] {
      offload_async([let_go, entered] {
        entered->set();
        EXPECT_TRUE(eventually([&] { return let_go->load(); }));
      }).get();
    });
    entered->wait();
    auto never_runs = offload_async([] { ADD_FAILURE() << "it was cancelled before it began"; });
    EXPECT_TRUE(never_runs.cancel());
    waits.cancel();
    waits.wait();
    EXPECT_TRUE(waits.cancelled()) << "the wait is cancelled, and not the call";
    *let_go = true;
    EXPECT_EQ(offload_async([] { return 5; }).get(), 5) << "behind the others";
  });
  EXPECT_THROW(static_cast<void>(offload_async([] {})), std::system_error);
}

// The pool's thread has let go of it before anybody learns of it.
TEST_P(offload_test, an_error_of_async_goes_with_its_last_handler) {
  struct counted {
    explicit counted(std::atomic<int>& n) : alive(n) { ++alive; }
    counted(const counted& other) : alive(other.alive) { ++alive; }
    ~counted() { --alive; }
    std::atomic<int>& alive;
  };
  std::atomic<int> alive{0};
  int outlived = 0;
  on_fiber([&] {
    for (int round = 0; round < (sanitized ? 200 : 1000); ++round) {
      try {
        offload_async([&] { throw counted(alive); }).get();
      } catch (const counted&) {}
      outlived += alive != 0;
      while (alive != 0) this_fiber::yield();
    }
  });
  EXPECT_EQ(outlived, 0) << "an error was kept by the thread that it was thrown on";
}

TEST_P(offload_test, the_end_drops_the_calls_that_have_not_begun) {
  opts.blocking_threads = 1;
  std::atomic<bool> entered{false}, ended{false};
  std::atomic<int> ran{0};
  std::vector<future<void>> later;
  on_fiber([&] {
    later.push_back(offload_async([&] {
      entered = true;
      std::this_thread::sleep_for(2ms);
      ended = true;
    }));
    EXPECT_TRUE(eventually_on_fiber([&] { return entered.load(); }));
    for (int i = 0; i < 3; ++i) later.push_back(offload_async([&] { ++ran; }));
  });
  stop();
  EXPECT_TRUE(ended);
  for (auto& f : later) EXPECT_TRUE(f.done());
  EXPECT_LE(ran, 3);
}

// F33
TEST_P(offload_test, a_job_that_never_ends_keeps_no_shutdown_beyond_its_limit) {
  static std::atomic<bool> let_go{false};
  let_go = false;
  std::atomic<bool> entered{false};
  {
    auto r = make_runtime(GetParam().workers);
    r->block_on([&] {
      static_cast<void>(offload_async([&] {
        entered = true;
        EXPECT_TRUE(eventually([] { return let_go.load(); }));
      }));
      EXPECT_TRUE(eventually_on_fiber([&] { return entered.load(); }));
    });
    EXPECT_FALSE(r->shutdown(1ms));
    EXPECT_EQ(r->metrics().blocking_threads, 1U);
  }
  let_go = true;
}

}  // namespace
}  // namespace coir::testing
