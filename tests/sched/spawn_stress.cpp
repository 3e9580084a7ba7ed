// Storms of spawns, joins, steals and cancellations: every task runs once, or never if it was
// cancelled before.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <array>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class spawn_stress : public runtime_test {
 protected:
  void print(const char* what, std::uint64_t n) {
    const auto m = rt().metrics();
    std::printf(
        "%llu %s, %llu switches, %llu steals of %llu fibers\n", static_cast<unsigned long long>(n),
        what, static_cast<unsigned long long>(m.switches),
        static_cast<unsigned long long>(m.steals), static_cast<unsigned long long>(m.stolen));
  }
  std::atomic<std::uint64_t> progress{0};
};
INSTANTIATE_TEST_SUITE_P(, spawn_stress, stress_settings(), name_of);

long fibonacci(int n, std::atomic<std::uint64_t>& tasks) {
  if (n < 2) return n;
  tasks.fetch_add(1, std::memory_order_relaxed);
  auto left = spawn([n, &tasks] { return fibonacci(n - 1, tasks); });
  const long right = fibonacci(n - 2, tasks);
  return left.get() + right;
}

TEST_P(spawn_stress, trees_of_tasks_from_fibers_and_threads_add_up) {
  const watchdog guard(rt(), progress);
  const auto until = std::chrono::steady_clock::now() + stress_time(600ms);
  const auto grow = [&] {
    while (std::chrono::steady_clock::now() < until)
      EXPECT_EQ(rt().block_on([&] { return fibonacci(12, progress); }), 144);
  };
  std::thread first(grow), second(grow);
  first.join();
  second.join();
  print("tasks", progress);
}

TEST_P(spawn_stress, bursts_on_one_worker_are_stolen_and_each_task_runs_once) {
  const watchdog guard(rt(), progress);
  std::uint64_t tasks = 0;
  on_fiber([&] {
    set_pinned(true);
    dice random(5);
    std::array<std::atomic<int>, 256> ran;
    const auto until = clock::now() + stress_time(600ms);
    while (clock::now() < until) {
      const std::uint32_t many = 1 + random(256);
      for (auto& r : ran) r = 0;
      std::vector<task<void>> all;
      for (std::uint32_t i = 0; i < many; ++i)
        all.push_back(spawn([&, i, spins = random(400), how = random(8)] {
          dice mine(i + 1);
          mine.spin(spins + 1);
          if (how == 0) this_fiber::yield();
          if (how == 1) this_fiber::sleep_for(1us);
          ++ran[i];
        }));
      // Joined from the last to the first, so that some are unlinked from the middle of a queue.
      for (std::uint32_t i = many; i-- > 0;) all[i].wait();
      for (std::uint32_t i = 0; i < many; ++i) ASSERT_EQ(ran[i].load(), 1) << i << " of " << many;
      tasks += many;
      progress += many;
    }
  });
  print("tasks in bursts", tasks);
}

TEST_P(spawn_stress, tasks_that_are_cancelled_at_birth_run_wholly_or_never) {
  const watchdog guard(rt(), progress);
  std::atomic<std::uint64_t> began{0}, ended{0}, dropped{0}, spawned{0};
  struct argument {
    std::atomic<std::uint64_t>* gone;
    explicit argument(std::atomic<std::uint64_t>* g) : gone(g) {}
    argument(argument&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
    ~argument() {
      if (gone != nullptr) ++*gone;
    }
  };
  std::atomic<std::uint64_t> never_ran{0}, ran{0};
  const auto until = std::chrono::steady_clock::now() + stress_time(500ms);
  const auto storm = [&](std::uint32_t seed) {
    dice random(seed);
    while (std::chrono::steady_clock::now() < until) {
      ++progress;
      ++spawned;
      bool mine = false;
      auto t = rt().spawn(
          [&](const argument&) {
            mine = true;
            ++began;
            struct count {
              std::atomic<std::uint64_t>& n;
              ~count() { ++n; }
            } guard_end{ended};
            this_fiber::yield();
            event().wait();
          },
          argument(&dropped));
      random.spin(1500);
      if (random(3) == 0) this_fiber::yield();
      t.cancel();
      t.wait();
      EXPECT_TRUE(t.cancelled());
      ++(mine ? ran : never_ran);
    }
  };
  std::vector<task<void>> fibers;
  for (std::uint32_t i = 1; i <= 2 * workers(); ++i) fibers.push_back(rt().spawn(storm, i));
  std::thread thread(storm, 99);
  for (auto& t : fibers) t.get();
  thread.join();
  EXPECT_EQ(dropped.load(), spawned.load());
  EXPECT_EQ(began.load(), ended.load());
  expect_both_win("the first run", ran, never_ran, "the worker", "cancellation");
}

TEST_P(spawn_stress, handles_that_go_while_their_fibers_end_are_counted_right) {
  const watchdog guard(rt(), progress);
  on_fiber([&] {
    dice random(3);
    const auto until = clock::now() + stress_time(300ms);
    while (clock::now() < until) {
      std::vector<task<std::shared_ptr<int>>> all;
      auto shared = std::make_shared<int>(1);
      for (int i = 0; i < 50; ++i) {
        all.push_back(spawn([shared, spins = random(500)] {
          dice(spins + 1).spin(spins + 1);
          return shared;
        }));
        if (i % 3 == 0) all[random(std::uint32_t(all.size()))].cancel();
        if (i % 5 == 0) {
          all.back().detach();
          all.pop_back();
        }
      }
      all.clear();
      const auto end = clock::now() + 10s;
      while (shared.use_count() != 1 && clock::now() < end) this_fiber::yield();
      ASSERT_EQ(shared.use_count(), 1) << "a function or a result was leaked";
      progress += 50;
    }
  });
}

}  // namespace
}  // namespace coir::testing
