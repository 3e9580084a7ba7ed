// The heap of deadlines against a sorted model, and fibers that sleep at random.
#include <coir/sched/cancelled.hpp>

#include <algorithm>
#include <map>

#include "runtime_fixture.hpp"
#include "sched/timer_heap.hpp"

namespace coir::testing {
namespace {

clock::time_point at(std::int64_t ns) { return clock::time_point(clock::duration(ns)); }

// F37
TEST(timer_stress, a_heap_strikes_as_a_sorted_list_does) {
  dice random(11);
  const unsigned rounds = (sanitized ? 100'000 : 600'000) * scale();
  sched::timer_heap heap;
  std::vector<sched::waiter> waiters(64);
  struct armed {
    sched::armed_timer timer;
    std::pair<std::int64_t, std::uint64_t> key;
  };
  std::map<std::pair<std::int64_t, std::uint64_t>,
           std::pair<sched::waiter*, sched::wait_generation>>
      model;
  std::vector<armed> handles;  // some of them have struck
  std::uint64_t age = 0, struck = 0, disarmed = 0;
  std::int64_t now = 0;
  for (unsigned i = 0; i < rounds; ++i) {
    switch (random(8)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        // Few distinct deadlines, so that many are equal; now and then one far away.
        const std::int64_t deadline =
            random(50) == 0 ? std::int64_t{1} << (30 + random(32)) : now + random(40) * 10;
        sched::waiter& who = waiters[random(64)];
        heap.make_room();
        const armed a{heap.arm(at(deadline), who, i), {deadline, age++}};
        model[a.key] = {&who, i};
        handles.push_back(a);
        break;
      }
      case 4:
      case 5: {
        if (handles.empty()) break;
        const std::size_t which =
            handles.size() - 1 -
            random(static_cast<std::uint32_t>(std::min<std::size_t>(handles.size(), 40)));
        const armed a = handles[which];
        handles[which] = handles.back();
        handles.pop_back();
        if (random(2) == 0)
          heap.disarm(a.timer);
        else
          heap.abandon(a.timer);
        disarmed += model.erase(a.key);
        break;
      }
      default: {
        now += random(30);
        for (;;) {
          const auto due = heap.pop_due(at(now));
          const bool expected = !model.empty() && model.begin()->first.first <= now;
          ASSERT_EQ(due.who != nullptr, expected) << "round " << i;
          if (!expected) break;
          ASSERT_EQ(due.who, model.begin()->second.first) << "round " << i;
          ASSERT_EQ(due.generation, model.begin()->second.second) << "round " << i;
          ASSERT_EQ(due.deadline, at(model.begin()->first.first));
          model.erase(model.begin());
          ++struck;
        }
        break;
      }
    }
    const auto first = model.empty() ? sched::never : at(model.begin()->first.first);
    ASSERT_LE(heap.earliest(), first) << "round " << i;
    ASSERT_LE(model.size(), heap.size());
  }
  while (!model.empty()) {
    const auto due = heap.pop_due(sched::never);
    ASSERT_EQ(due.generation, model.begin()->second.second);
    model.erase(model.begin());
  }
  EXPECT_EQ(heap.pop_due(sched::never).who, nullptr);
  std::printf("%u operations: %llu struck, %llu disarmed\n", rounds,
              static_cast<unsigned long long>(struck), static_cast<unsigned long long>(disarmed));
}

TEST(timer_stress, entries_that_were_abandoned_are_swept) {
  sched::timer_heap heap;
  sched::waiter w;
  for (unsigned i = 0; i < 100'000; ++i) {
    heap.make_room();
    heap.abandon(heap.arm(at(1'000'000 + i), w, i));
  }
  EXPECT_LT(heap.size(), 1000U);
}

class sleep_stress : public runtime_test {
 protected:
  std::atomic<std::uint64_t> progress{0};
};
INSTANTIATE_TEST_SUITE_P(, sleep_stress, stress_settings(), name_of);

TEST_P(sleep_stress, no_sleep_is_early_lost_or_doubled_though_fibers_move_and_are_cancelled) {
  std::atomic<std::uint64_t> slept{0}, was_cancelled{0};
  {
    const watchdog guard(rt(), progress);
    const auto until = clock::now() + stress_time(700ms);
    std::vector<task<void>> sleepers;
    for (std::uint32_t i = 0; i < 200; ++i)
      sleepers.push_back(rt().spawn([&, i] {
        dice random(i + 1);
        while (clock::now() < until) {
          const auto wanted = std::chrono::microseconds(random(3000));
          const auto start = clock::now();
          try {
            this_fiber::sleep_for(wanted);
            EXPECT_GE(clock::now() - start, wanted);
            ++slept;
          } catch (const cancelled&) {
            ++was_cancelled;
          }
          ++progress;
          if (random(4) == 0) this_fiber::uncancel();
        }
      }));
    auto disturber = rt().spawn([&] {
      dice random(77);
      while (clock::now() < until) {
        for (int k = 0; k < 4; ++k) sleepers[random(200)].cancel();
        this_fiber::sleep_for(20us);
      }
    });
    disturber.get();
    for (auto& t : sleepers) t.wait();
  }
  expect_both_win("a sleep", slept, was_cancelled, "its end", "cancellation");
  EXPECT_TRUE(eventually([&] { return rt().metrics().timers < 400; }));
}

}  // namespace
}  // namespace coir::testing
