// Forced steals: a fiber that blocks on one worker is made ready there behind a fiber that never
// lets go, so another worker has to take it. And what else lies behind such a hog, and who may not
// be stolen.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <cstdio>
#include <functional>

#include "hogs.hpp"

namespace coir::testing {
namespace {

class steal_test : public runtime_test {
 protected:
  static constexpr unsigned nowhere = ~0U;

  // What a blocking call looked like to its fiber.
  struct trip {
    std::atomic<unsigned> before{nowhere}, after{nowhere};
  };

  // A fiber that starts on the caller's worker, where the caller is pinned, and blocks there; then
  // it may be stolen.
  template <class Block>
  auto start_blocking(trip& t, Block&& block) {
    return spawn(here_only, [&t, block = std::forward<Block>(block)]() mutable {
      t.before = this_worker();
      set_pinned(false);
      block();
      t.after = this_worker();
    });
  }

  static void wait_until_parked(const task<void>& t) {
    while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
  }

  // `wake` makes the fiber ready on this worker, which is then ours until the fiber has moved.
  template <class Block, class Wake>
  void expect_moved(
      const char* call, Block&& block, Wake&& wake, const std::function<void()>& before = [] {}) {
    on_fiber([&] {
      set_pinned(true);
      before();
      trip t;
      auto moving = start_blocking(t, std::forward<Block>(block));
      wait_until_parked(moving);
      const auto start = std::chrono::steady_clock::now();
      wake();
      const bool moved = hog_until([&] { return t.after != nowhere; });
      const std::chrono::duration<double, std::milli> took =
          std::chrono::steady_clock::now() - start;
      EXPECT_TRUE(moved) << call << " was not resumed while its worker was busy";
      moving.wait();
      EXPECT_EQ(t.before.load(), this_worker());
      EXPECT_NE(t.after.load(), t.before.load());
      std::printf("%s blocked on worker %u and was resumed on worker %u after %.2f ms\n", call,
                  t.before.load(), t.after.load(), took.count());
    });
  }
};
INSTANTIATE_TEST_SUITE_P(, steal_test, settings_with_thieves(), name_of);

TEST_P(steal_test, a_fiber_in_sleep_for_is_resumed_by_another_worker) {
  expect_moved(
      "sleep_for", [] { this_fiber::sleep_for(10ms); }, [] {});
}

TEST_P(steal_test, a_fiber_in_mutex_lock_is_resumed_by_another_worker) {
  mutex m;
  expect_moved(
      "mutex::lock",
      [&] {
        m.lock();
        m.unlock();
      },
      [&] { m.unlock(); }, [&] { m.lock(); });
}

TEST_P(steal_test, a_fiber_in_event_wait_is_resumed_by_another_worker) {
  event e;
  expect_moved(
      "event::wait", [&] { e.wait(); }, [&] { e.set(); });
}

TEST_P(steal_test, a_fiber_in_task_get_is_resumed_by_another_worker) {
  // Its task ends, and of those who joined it the last runs first: the hog. The other is stolen.
  on_fiber([&] {
    set_pinned(true);
    trip t;
    event go;
    auto joined = spawn(here_only, [&] { go.wait(); });
    while (joined.state() != task_state::parked) this_fiber::yield();
    auto moving = start_blocking(t, [&] { joined.wait(); });
    wait_until_parked(moving);
    auto hog = spawn(here_only, [&] {
      joined.wait();
      EXPECT_TRUE(hog_until([&] { return t.after != nowhere; }));
    });
    wait_until_parked(hog);
    go.set();
    hog.wait();
    moving.wait();
    EXPECT_EQ(t.before.load(), this_worker());
    EXPECT_NE(t.after.load(), t.before.load());
    std::printf("task::get blocked on worker %u and was resumed on worker %u\n", t.before.load(),
                t.after.load());
  });
}

TEST_P(steal_test, a_fiber_in_an_operation_is_resumed_by_another_worker) {
  if (GetParam().with == drivers::futex) GTEST_SKIP() << "it has no operations";
  on_fiber([&] {
    set_pinned(true);
    trip t;
    std::atomic<bool> hogging{false};
    auto hog = spawn(here_only, [&] {
      io.operate(1);
      hogging = true;
      EXPECT_TRUE(hog_until([&] { return t.after != nowhere; }));
    });
    wait_until_parked(hog);
    auto moving = start_blocking(t, [&] { EXPECT_EQ(io.operate(2).result, 22); });
    wait_until_parked(moving);
    if (io.contract() == sched::completion_contract::home) {
      EXPECT_TRUE(io.complete_together({{1, 11}, {2, 22}}));  // one poll: the hog is ready first
    } else {
      EXPECT_TRUE(io.complete(1, 11));
    }
    std::thread elsewhere;
    if (io.contract() == sched::completion_contract::roaming)
      elsewhere = std::thread([&] {
        EXPECT_TRUE(eventually([&] { return hogging.load(); }));
        EXPECT_TRUE(io.complete(2, 22));
      });
    hog.wait();
    if (elsewhere.joinable()) elsewhere.join();
    moving.wait();
    EXPECT_EQ(t.before.load(), this_worker());
    EXPECT_NE(t.after.load(), t.before.load());
    std::printf("an operation blocked on worker %u and was resumed on worker %u\n", t.before.load(),
                t.after.load());
  });
}

// --- what lies behind a hog

// Until `holds`, while this worker is hogged.
template <class Predicate>
void expect_rescued(const char* what, Predicate&& holds) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(hog_until(holds)) << what << " was not taken over";
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  std::printf("%s of a hog was taken over within %.2f ms\n", what, took.count());
}

// F21
TEST_P(steal_test, a_hogs_queue_is_taken_over) {
  on_fiber([] {
    set_pinned(true);
    std::atomic<int> ran{0};
    std::vector<task<void>> many;
    for (int i = 0; i < 100; ++i) many.push_back(spawn([&] { ++ran; }));
    expect_rescued("the queue", [&] { return ran == 100; });
  });
}

// F21
TEST_P(steal_test, a_hogs_run_next_slot_is_taken_over) {
  on_fiber([] {
    set_pinned(true);
    event e;
    std::atomic<bool> woken{false};
    auto t = spawn(here_only, [&] {
      set_pinned(false);
      e.wait();
      woken = true;
    });
    wait_until_parked(t);
    e.set();
    expect_rescued("the run-next slot", [&] { return woken.load(); });
  });
}

// F28
TEST_P(steal_test, a_hogs_due_timers_are_taken_over) {
  on_fiber([] {
    set_pinned(true);
    std::atomic<int> woken{0};
    std::vector<task<void>> sleepers;
    const auto first = clock::now() + 20ms;
    for (int i = 0; i < 300; ++i)
      sleepers.push_back(spawn(here_only, [&, i] {
        set_pinned(false);
        this_fiber::sleep_until(first + i * 10us);
        ++woken;
      }));
    for (auto& s : sleepers) wait_until_parked(s);
    while (clock::now() < first) std::this_thread::yield();
    expect_rescued("300 timers in 3 ms", [&] { return woken == 300; });
  });
}

TEST_P(steal_test, cancellations_sent_to_a_hogs_fibers_are_taken_over) {
  on_fiber([] {
    set_pinned(true);
    std::atomic<bool> unwound{false};
    auto t = spawn(here_only, [&] {
      set_pinned(false);
      struct tell {
        std::atomic<bool>& to;
        ~tell() { to = true; }
      } guard{unwound};
      event().wait();
    });
    wait_until_parked(t);
    t.cancel();
    expect_rescued("a cancellation", [&] { return unwound.load(); });
    t.wait();
  });
}

TEST_P(steal_test, a_lone_workers_turn_comes_when_two_threads_bring_a_hog_and_a_job) {
  // All workers sleep for good. The one that is woken for the hog must not count as somebody who
  // searches.
  for (int round = 0; round < 5; ++round) {
    rt();
    std::this_thread::sleep_for(20ms);
    std::atomic<bool> ran{false}, hogging{false};
    auto hog = rt().spawn([&] {
      hogging = true;
      return hog_until([&] { return ran.load(); });
    });
    ASSERT_TRUE(eventually([&] { return hogging.load(); }));
    auto job = rt().spawn([&] { ran = true; });
    EXPECT_TRUE(hog.get()) << "the job waited for the hog while another worker slept";
    job.get();
  }
}

// --- who stays

// F22
TEST_P(steal_test, a_pinned_fiber_runs_on_one_worker_only) {
  std::atomic<bool> end{false};
  std::atomic<unsigned> moved{0}, resumed{0};
  on_fiber([&] {
    std::vector<task<void>> all;
    mutex m;
    for (unsigned i = 0; i < workers() * 2; ++i) {
      all.push_back(spawn(here_only, [&] {
        const unsigned home = this_worker();
        while (!end) {
          this_fiber::yield();
          moved += this_worker() != home;
          this_fiber::sleep_for(50us);
          moved += this_worker() != home;
          m.lock();
          this_fiber::yield();
          m.unlock();
          moved += this_worker() != home;
          ++resumed;
        }
      }));
      all.push_back(spawn([&] {
        while (!end) {
          hog_until([] { return false; }, 1ms);
          this_fiber::yield();
        }
      }));
    }
    this_fiber::sleep_for(60ms);
    end = true;
    for (auto& t : all) t.wait();
  });
  EXPECT_GT(resumed.load(), 0U);
  EXPECT_EQ(moved.load(), 0U);
}

// F22
TEST_P(steal_test, a_pinned_fiber_stays_though_its_worker_is_a_hogs) {
  on_fiber([] {
    set_pinned(true);
    const unsigned home = this_worker();
    unsigned after_sleep = nowhere, after_cancel = nowhere;
    auto sleeper = spawn(here_only, [&] {
      this_fiber::sleep_for(5ms);
      after_sleep = this_worker();
    });
    auto waiter = spawn(here_only, [&] {
      try {
        event().wait();
      } catch (const cancelled&) {
        after_cancel = this_worker();
      }
    });
    wait_until_parked(sleeper);
    wait_until_parked(waiter);
    waiter.cancel();
    hog_until([] { return false; }, 60ms);
    sleeper.wait();
    waiter.wait();
    EXPECT_EQ(after_sleep, home);
    EXPECT_EQ(after_cancel, home);
  });
}

}  // namespace
}  // namespace coir::testing
