// What a sleeper may take from behind a hog, and what it has to leave: the sentinel breaks into the
// gate of a worker whose loop does not turn.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <cstdio>
#include <ctime>

#include "hogs.hpp"

namespace coir::testing {
namespace {

double cpu_seconds(clockid_t of) {
  timespec t{};
  ::clock_gettime(of, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

[[gnu::noinline]] sched::outcome state_of_own_wait() {
  return sched::current_host().running->claim.state();
}

class rescue_test : public runtime_test {
 protected:
  static void wait_until_parked(const task<void>& t) {
    while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
  }
  // On a plain thread: until no worker wakes any more by itself. A sentinel would within 4 ms.
  bool wait_until_all_sleep() {
    return eventually([&] {
      const auto before = rt().metrics().sleeps;
      std::this_thread::sleep_for(15ms);
      return rt().metrics().sleeps == before;
    });
  }
};
INSTANTIATE_TEST_SUITE_P(, rescue_test, settings_with_thieves(), name_of);

// As many hogs as workers, but for one whose fiber yields for ever: nobody sleeps, nobody searches.
TEST_P(rescue_test, what_is_ready_behind_a_hog_runs_though_no_worker_ever_runs_dry) {
  std::atomic<bool> ran{false};
  on_fiber([&] {
    std::vector<task<void>> hogs;
    for (unsigned i = 1; i < GetParam().workers; ++i)
      hogs.push_back(spawn([&] {
        auto behind = spawn([&] { ran = true; });
        EXPECT_TRUE(hog_until([&] { return ran.load(); })) << "nobody took it over";
        behind.wait();
      }));
    while (!ran) this_fiber::yield();
    for (auto& h : hogs) h.get();
  });
}

// A rescuer that claimed the wait would make a fiber ready that still runs.
TEST_P(rescue_test, a_wait_that_has_begun_and_not_parked_is_left_to_its_fiber) {
  if (GetParam().with != drivers::fake_roaming) GTEST_SKIP() << "nobody looks before it parks";
  on_fiber([&] {
    set_pinned(true);
    event go;
    std::atomic<bool> rescued{false};
    auto bait = spawn(here_only, [&] {
      set_pinned(false);
      go.wait();
      rescued = true;
    });
    wait_until_parked(bait);
    task<void> victim;
    victim = spawn(here_only, [&] {
      io.operate(1, sched::never, [&] {
        std::thread([&] { victim.cancel(); }).join();
        go.set();  // into this worker's run-next slot: one visit takes it and the cancellations
        EXPECT_TRUE(hog_until([&] { return rescued.load(); }));
        if (state_of_own_wait() == sched::outcome::waiting) return;
        std::fprintf(stderr, "the wait of a fiber that runs has been claimed as %d\n",
                     static_cast<int>(state_of_own_wait()));
        std::abort();  // it is ready on another worker now, and runs here
      });
    });
    EXPECT_THROW(victim.get(), cancelled);
    bait.wait();
  });
}

// F28
TEST_P(rescue_test, due_timers_fire_elsewhere_though_pinned_fibers_are_ready_there) {
  on_fiber([] {
    set_pinned(true);
    const unsigned home = this_worker();
    std::atomic<unsigned> woken_on{~0U}, pinned_moved{0};
    std::atomic<int> pinned_ran{0};
    auto sleeper = spawn(here_only, [&] {
      set_pinned(false);
      this_fiber::sleep_for(10ms);
      woken_on = this_worker();
    });
    wait_until_parked(sleeper);
    std::vector<task<void>> pinned;
    for (int i = 0; i < 3; ++i)
      pinned.push_back(spawn(here_only, [&] {
        pinned_moved += this_worker() != home;
        ++pinned_ran;
      }));
    const auto start = clock::now();
    EXPECT_TRUE(hog_until([&] { return woken_on != ~0U; })) << "the timer is the hog's";
    const std::chrono::duration<double, std::milli> took = clock::now() - start;
    EXPECT_EQ(pinned_ran.load(), 0);
    for (auto& p : pinned) p.wait();
    sleeper.wait();
    EXPECT_NE(woken_on.load(), home);
    EXPECT_EQ(pinned_moved.load(), 0U);
    std::printf("a sleep of 10 ms begun on worker %u ended on worker %u after %.1f ms\n", home,
                woken_on.load(), took.count());
  });
}

TEST_P(rescue_test, sleepers_do_not_turn_for_pinned_fibers_that_they_may_not_take) {
  if (GetParam().with != drivers::futex) GTEST_SKIP() << "the scripted driver is no measure";
  on_fiber([] {
    set_pinned(true);
    std::vector<task<void>> pinned;
    for (int i = 0; i < 3; ++i) pinned.push_back(spawn(here_only, [] {}));
    const auto others = [] {
      return cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_seconds(CLOCK_THREAD_CPUTIME_ID);
    };
    const double before = others();
    hog_until([] { return false; }, 400ms);
    const double used = others() - before;
    std::printf("in 400 ms of a hog the other workers used %.1f ms\n", used * 1e3);
    EXPECT_LT(used, sanitized ? 0.35 : 0.15);
    for (auto& p : pinned) p.wait();
  });
}

TEST_P(rescue_test, what_a_hog_wakes_is_taken_over_though_everybody_had_slept) {
  for (int round = 0; round < 5; ++round) {
    event e;
    std::atomic<bool> ran{false};
    auto waiter = rt().spawn([&] {
      e.wait();
      ran = true;
    });
    EXPECT_TRUE(eventually([&] { return waiter.state() == task_state::parked; }));
    if (GetParam().with == drivers::futex) {
      EXPECT_TRUE(wait_until_all_sleep());
    }
    const auto start = clock::now();
    on_fiber([&] {
      e.set();
      EXPECT_TRUE(hog_until([&] { return ran.load(); })) << "in round " << round;
    });
    const std::chrono::duration<double, std::milli> took = clock::now() - start;
    std::printf("taken over after %.1f ms\n", took.count());
    waiter.wait();
  }
}

TEST_P(rescue_test, two_hogs_are_watched_at_once) {
  if (workers() < 3) GTEST_SKIP() << "nobody is left to watch";
  on_fiber([&] {
    std::atomic<bool> second_hogs{false}, ran{false};
    event e;
    auto waiter = spawn([&] {
      e.wait();
      ran = true;
    });
    wait_until_parked(waiter);
    auto second = spawn([&] {
      second_hogs = true;
      return hog_until([&] { return ran.load(); });
    });
    EXPECT_TRUE(hog_until([&] { return second_hogs.load(); }));
    e.set();
    EXPECT_TRUE(hog_until([&] { return ran.load(); }));
    EXPECT_TRUE(second.get());
    waiter.wait();
  });
}

}  // namespace
}  // namespace coir::testing
