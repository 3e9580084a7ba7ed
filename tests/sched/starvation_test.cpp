// F1: stacks that cannot be had: tasks wait for one and go on when one is freed; where none can
// ever come free they end with not_enough_memory, never having run.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <system_error>

#include <sys/resource.h>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class starvation_test : public runtime_test {
 protected:
  // Guards by mprotect, and a budget for eight fibers and the runtime's reserve.
  starvation_test() {
    stacks.guard = fiber::guard_kind::protect;
    stacks.protect_budget = 9;
    stacks.canary_when_spent = false;
  }

  template <class T>
  static void expect_no_memory(task<T>& t, std::atomic<int>& ran) {
    try {
      t.get();
      ADD_FAILURE() << "it got a stack";
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::not_enough_memory) << e.what();
    }
    EXPECT_EQ(ran.load(), 0);
  }
};
INSTANTIATE_TEST_SUITE_P(, starvation_test, every_setting(), name_of);

TEST_P(starvation_test, more_tasks_than_stacks_all_run) {
  std::atomic<int> ran{0};
  std::vector<task<void>> all;
  for (int i = 0; i < 300; ++i)
    all.push_back(rt().spawn([&] {
      this_fiber::yield();
      this_fiber::sleep_for(50us);
      ++ran;
    }));
  for (auto& t : all) t.get();
  EXPECT_EQ(ran.load(), 300);
}

TEST_P(starvation_test, a_waiting_task_starts_when_a_stack_is_freed) {
  event go;
  std::atomic<int> parked{0};
  std::vector<task<void>> holders;
  for (int i = 0; i < 8; ++i)
    holders.push_back(rt().spawn([&] {
      ++parked;
      // With a deadline, so that a stack can still come free by itself.
      (void)go.wait_for(std::chrono::hours(1));
    }));
  ASSERT_TRUE(eventually([&] { return parked == 8; }, 2s)) << parked.load();
  auto starved = rt().spawn([] { return 5; });
  EXPECT_TRUE(eventually([&] { return rt().metrics().fibers_without_stack == 1; }));
  EXPECT_FALSE(starved.wait_for(5ms));
  EXPECT_EQ(starved.state(), task_state::ready);
  bool shown = false;
  for (const fiber_info& f : rt().fibers())
    shown |= f.id == starved.id() && f.waits_for == "a stack";
  EXPECT_TRUE(shown);
  holders.front().cancel();
  EXPECT_EQ(starved.get(), 5);
  go.set();
}

TEST_P(starvation_test, where_no_stack_can_ever_come_free_get_throws) {
  on_fiber([&] {
    std::atomic<int> ran{0};
    const auto watched = std::make_shared<int>(1);
    event go;
    std::vector<task<void>> holders;
    for (int i = 0; i < 7; ++i) holders.push_back(spawn([&] { go.wait(); }));
    for (auto& h : holders)
      while (h.state() != task_state::parked) this_fiber::yield();
    auto starved = spawn([&ran, watched] { ++ran; });
    EXPECT_EQ(watched.use_count(), 2);
    expect_no_memory(starved, ran);
    EXPECT_EQ(watched.use_count(), 1) << "its arguments are destroyed";
    // The others go on, and with a stack there is a task again.
    go.set();
    for (auto& h : holders) h.get();
    spawn([&] { ++ran; }).get();
    EXPECT_EQ(ran.load(), 1);
  });
}

TEST_P(starvation_test, stacks_that_an_idle_worker_has_cached_are_given_to_the_starving) {
  std::atomic<int> ran{0};
  for (int round = 0; round < 20; ++round) {
    // Ended on all workers, which then sleep with a stack or two in their caches.
    std::vector<task<void>> many;
    for (int i = 0; i < 16; ++i) many.push_back(rt().spawn([] { this_fiber::sleep_for(20us); }));
    for (auto& t : many) t.get();
    std::this_thread::sleep_for(200us);
    on_fiber([&] {
      event go;
      std::vector<task<void>> holders;
      for (int i = 0; i < 6; ++i)
        holders.push_back(spawn([&] {
          ++ran;
          go.wait();
        }));
      for (auto& h : holders) {
        const auto end = clock::now() + 5s;
        while (h.state() != task_state::parked && !h.done() && clock::now() < end)
          this_fiber::sleep_for(50us);
      }
      go.set();
      for (auto& h : holders) EXPECT_NO_THROW(h.get()) << "7 fibers and 8 stacks";
    });
  }
  EXPECT_EQ(ran.load(), 120);
}

// A deadline far away is no reason to leave a task without a stack that a sleeper has.
TEST_P(starvation_test, cached_stacks_are_given_to_the_starving_though_a_timer_is_pending) {
  for (int round = 0; round < 20; ++round) {
    std::vector<task<void>> many;
    for (int i = 0; i < 16; ++i) many.push_back(rt().spawn([] { this_fiber::sleep_for(20us); }));
    for (auto& t : many) t.get();
    event go;
    std::atomic<int> parked{0};
    std::vector<task<void>> holders;
    for (int i = 0; i < 8; ++i)
      holders.push_back(rt().spawn([&] {
        ++parked;
        (void)go.wait_for(std::chrono::hours(1));
      }));
    const bool all = eventually([&] { return parked == 8; }, 5s);
    EXPECT_TRUE(all) << parked << " of 8 have a stack, of which there are 8, in round " << round;
    go.set();
    for (auto& h : holders) h.get();
    if (!all) return;
  }
}

TEST_P(starvation_test, a_starving_task_that_is_cancelled_ends) {
  event go;
  std::vector<task<void>> holders;
  std::atomic<int> parked{0}, ran{0};
  for (int i = 0; i < 8; ++i)
    holders.push_back(rt().spawn([&] {
      ++parked;
      (void)go.wait_for(std::chrono::hours(1));
    }));
  ASSERT_TRUE(eventually([&] { return parked == 8; }, 2s));
  auto starved = rt().spawn([&] { ++ran; });
  EXPECT_TRUE(eventually([&] { return rt().metrics().fibers_without_stack == 1; }));
  starved.cancel();
  go.set();
  EXPECT_THROW(starved.get(), cancelled);
  EXPECT_EQ(ran.load(), 0);
}

TEST_P(starvation_test, shutdown_ends_though_tasks_wait_for_a_stack) {
  std::vector<task<void>> all;
  std::atomic<int> ran{0};
  for (int i = 0; i < 40; ++i)
    all.push_back(rt().spawn([&] {
      ++ran;
      this_fiber::sleep_for(std::chrono::hours(1));
    }));
  EXPECT_TRUE(eventually([&] { return ran > 0 && rt().metrics().fibers_without_stack != 0; }));
  rt().shutdown();
  for (auto& t : all) EXPECT_TRUE(t.done());  // some begin on the stacks of those cancelled before
}

// In a process of its own, because a mistake here never ends.
TEST(starvation_of_giants, one_that_wants_more_than_there_is_fails_though_small_stacks_are_idle) {
  if (sanitized) GTEST_SKIP() << "their shadow memory has no room for stacks of a terabyte";
  const int status = in_child(10s, [] {
    auto r = make_runtime(2);
    std::vector<task<void>> warm;
    for (int i = 0; i < 10; ++i) warm.push_back(r->spawn([] { this_fiber::yield(); }));
    for (auto& t : warm) t.get();
    // 128 of the largest stacks are all that an address space of 47 bits can hold, and they take no
    // memory.
    std::atomic<int> ran{0};
    event go;
    std::vector<task<void>> giants;
    for (int i = 0; i < 140; ++i)
      giants.push_back(
          r->spawn({.name = "", .stack_size = std::size_t{1} << 40, .pinned = false}, [&] {
            ++ran;
            go.wait();
          }));
    int failed = 0;
    for (auto& g : giants) {
      while (g.state() != task_state::parked && !g.done()) std::this_thread::sleep_for(1ms);
      failed += g.done();
    }
    go.set();
    return failed > 0 && failed + ran == 140 ? 0 : 1;
  });
  EXPECT_EQ(status, 0) << (status < 0 ? "it never ended" : "");
}

// In a process of its own, for its limit. The arguments are destroyed where they may wait: on the
// stack that is kept for that.
TEST(starvation_of_giants, stacks_of_16_gib_of_which_there_is_not_one_end_with_not_enough_memory) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's shadow does not fit below the limit";
  for (const unsigned workers : {1U, 2U, 4U}) {
    const int status = in_child(10s, [workers] {
      const rlimit eight_gib{std::size_t{8} << 30, std::size_t{8} << 30};
      ::setrlimit(RLIMIT_AS, &eight_gib);
      auto r = make_runtime(workers);
      auto inner = r->spawn([] {
        try {
          event().wait();
        } catch (const cancelled&) {}
      });
      while (inner.state() != task_state::parked) std::this_thread::yield();
      bool ran = false;
      auto giant = r->spawn({.name = "", .stack_size = std::size_t{16} << 30, .pinned = false},
                            [&ran, in = std::move(inner)] { ran = true; });
      try {
        giant.get();
        return 1;
      } catch (const std::system_error& e) {
        if (e.code() != std::errc::not_enough_memory) return 2;
      }
      if (ran) return 3;
      return r->block_on([] { return 0; });  // the others go on
    });
    EXPECT_EQ(status, 0) << workers << " workers" << (status < 0 ? ": it never ended" : "");
  }
}

}  // namespace
}  // namespace coir::testing
