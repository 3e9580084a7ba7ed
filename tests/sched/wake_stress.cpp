// F23: no wake-up is lost: tokens pass between fibers of all workers and plain threads, and are
// counted at the end.
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>

#include <array>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class wake_stress : public runtime_test {
 protected:
  std::atomic<bool> end{false};
  std::atomic<std::uint64_t> progress{0};
};
INSTANTIATE_TEST_SUITE_P(, wake_stress, stress_settings(), name_of);

TEST_P(wake_stress, every_wake_of_a_parked_fiber_or_thread_arrives) {
  struct pair {
    binary_semaphore to_left{0}, to_right{0};
    std::uint64_t left = 0, right = 0;
    std::atomic<bool> done{false};
  };
  std::array<pair, 8> pairs;
  const auto left = [&](pair& p) {
    for (;;) {
      const bool last = end;
      ++p.left;
      p.to_right.release();
      p.to_left.acquire();
      progress.fetch_add(1, std::memory_order_relaxed);
      if (!last) continue;
      p.done = true;
      return;
    }
  };
  const auto right = [&](pair& p) {
    while (!p.done) {
      if (!p.to_right.try_acquire_for(1ms)) continue;
      ++p.right;
      p.to_left.release();
    }
  };
  {
    const watchdog guard(rt(), progress);
    std::vector<task<void>> fibers;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      fibers.push_back(rt().spawn([&, i] { left(pairs[i]); }));
      if (i % 4 == 0)
        threads.emplace_back([&, i] { right(pairs[i]); });
      else
        fibers.push_back(rt().spawn([&, i] { right(pairs[i]); }));
    }
    std::this_thread::sleep_for(stress_time(700ms));
    end = true;
    for (auto& t : threads) t.join();
    for (auto& t : fibers) t.get();
  }
  std::uint64_t wakes = 0;
  for (const pair& p : pairs) {
    EXPECT_EQ(p.left, p.right);
    wakes += p.left + p.right;
  }
  const auto m = rt().metrics();
  std::printf("%llu wakes, %llu switches, %llu steals, %llu sleeps\n",
              static_cast<unsigned long long>(wakes), static_cast<unsigned long long>(m.switches),
              static_cast<unsigned long long>(m.steals), static_cast<unsigned long long>(m.sleeps));
}

TEST_P(wake_stress, tokens_that_wander_are_conserved) {
  constexpr std::size_t places = 6, tokens = 5;
  struct place {
    counting_semaphore<> here{0};
  };
  std::array<place, places> map;
  for (std::size_t i = 0; i < tokens; ++i) map[i % places].here.release();
  std::atomic<std::uint64_t> moved{0}, gave_up{0};
  const auto wander = [&](std::uint32_t seed) {
    dice random(seed);
    while (!end) {
      progress.fetch_add(1, std::memory_order_relaxed);
      if (!map[random(places)].here.try_acquire_for(std::chrono::microseconds(random(60)))) {
        ++gave_up;
        continue;
      }
      random.spin(200);
      map[random(places)].here.release();
      ++moved;
    }
  };
  {
    const watchdog guard(rt(), progress);
    std::vector<task<void>> fibers;
    for (std::uint32_t i = 1; i <= 12; ++i) fibers.push_back(rt().spawn(wander, i));
    std::thread thread(wander, 100);
    std::this_thread::sleep_for(stress_time(500ms));
    end = true;
    thread.join();
    for (auto& t : fibers) t.get();
  }
  std::size_t found = 0;
  for (place& p : map)
    while (p.here.try_acquire()) ++found;
  EXPECT_EQ(found, tokens);
  expect_both_win("a token or a deadline", moved, gave_up, "the token", "the deadline");
}

TEST_P(wake_stress, a_job_for_workers_that_fall_asleep_starts_at_once) {
  // F25: the push of a foreign thread against the last look of a worker that falls asleep.
  opts.idle_poll = 0us;
  dice random(7);
  std::uint64_t jobs = 0;
  std::chrono::steady_clock::duration worst{};
  {
    const watchdog guard(rt(), progress);
    const auto until = std::chrono::steady_clock::now() + stress_time(500ms);
    while (std::chrono::steady_clock::now() < until) {
      const auto start = std::chrono::steady_clock::now();
      rt().spawn([] {}).get();
      worst = std::max(worst, std::chrono::steady_clock::now() - start);
      ++jobs;
      progress.fetch_add(1, std::memory_order_relaxed);
      random.spin(20'000);
    }
  }
  std::printf("%llu jobs, the slowest took %.2f ms\n", static_cast<unsigned long long>(jobs),
              std::chrono::duration<double, std::milli>(worst).count());
}

// The same with nobody else who could be woken, and a push that comes as the worker falls asleep.
TEST(lone_worker_stress, a_job_for_a_lone_worker_that_falls_asleep_starts_at_once) {
  options o;
  o.workers = 1;
  o.idle_poll = 0us;
  const auto r = make_runtime(o);
  dice random(11);
  std::atomic<std::uint64_t> ran{0};
  std::uint64_t jobs = 0;
  const watchdog guard(*r, ran);
  const auto until = std::chrono::steady_clock::now() + stress_time(1000ms);
  while (std::chrono::steady_clock::now() < until) {
    r->spawn([&] { ++ran; }).detach();
    ++jobs;
    while (ran != jobs) {}
    random.spin(4'000);
  }
  std::printf("%llu jobs\n", static_cast<unsigned long long>(jobs));
}

}  // namespace
}  // namespace coir::testing
