// F19, F20: with -Dlock_check=true, a fiber that waits while it holds a native lock stops the
// process; whatever unlocks in time goes on.
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <functional>
#include <mutex>
#include <shared_mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class lock_check_death : public ::testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  static void run_on_fiber(const std::function<void()>& f) { make_runtime(2)->block_on(f); }
  static void expect_refused(const std::function<void()>& f) {
    EXPECT_DEATH(run_on_fiber(f),
                 "coir: a native lock at 0x[0-9a-f]+ was taken at\n.*\n"
                 "coir: fiber [0-9]+ waits while it holds that lock");
  }
};

template <class Mutex, class Wait>
void hold_over(Wait&& wait) {
  static Mutex m;
  const std::unique_lock held(m);
  wait();
}

TEST_F(lock_check_death, a_mutex_over_each_kind_of_wait) {
  expect_refused([] { hold_over<std::mutex>([] { this_fiber::sleep_for(1ms); }); });
  expect_refused([] { hold_over<std::mutex>([] { event().wait_for(1ms); }); });
  expect_refused(
      [] { hold_over<std::mutex>([] { spawn([] { this_fiber::sleep_for(1ms); }).get(); }); });
  expect_refused([] {
    auto other = spawn({.name = "", .stack_size = 0, .pinned = true}, [] {});
    hold_over<std::mutex>([] { this_fiber::yield(); });
    other.get();
  });
}

TEST_F(lock_check_death, every_kind_of_native_lock) {
  const auto wait = [] { this_fiber::sleep_for(1ms); };
  expect_refused([&] { hold_over<std::recursive_mutex>(wait); });
  expect_refused([&] { hold_over<std::shared_mutex>(wait); });
  expect_refused([&] {
    static std::timed_mutex m;
    const std::unique_lock held(m, 1s);
    wait();
  });
  expect_refused([&] {
    static std::mutex m;
    const std::unique_lock held(m, std::try_to_lock);
    wait();
  });
  expect_refused([&] {
    static std::shared_mutex m;
    const std::shared_lock held(m);
    wait();
  });
}

TEST_F(lock_check_death, one_that_a_fiber_takes_to_its_end) {
  expect_refused([] {
    static std::mutex m;
    spawn([] { m.lock(); }).get();
  });
}

TEST(lock_check, locks_that_are_free_again_and_ours_are_not_minded) {
  make_runtime(4)->block_on([] {
    static std::mutex m, other;
    static std::recursive_mutex again;
    static mutex ours;
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i)
      all.push_back(spawn([] {
        for (int k = 0; k < 50; ++k) {
          {
            const std::scoped_lock both(m, other);
            const std::lock_guard once(again), twice(again);
          }
          const std::lock_guard held(ours);
          this_fiber::yield();
        }
      }));
    for (auto& t : all) t.get();
  });
}

TEST(lock_check, what_plain_threads_hold_is_theirs) {
  auto r = make_runtime(1);
  std::mutex m;
  const std::lock_guard held(m);
  r->block_on([] { this_fiber::sleep_for(1ms); });
  event().wait_for(1ms);
}

}  // namespace
}  // namespace coir::testing
