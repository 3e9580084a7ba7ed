// Brute force on the gate: an owner that comes and goes as fast as it can, and two thieves.
#include "sched/gate.hpp"

#include <gtest/gtest.h>
#include <thread>

#include "stress.hpp"

namespace {

using namespace coir::sched;

class gate_stress : public stress::with_both_fences {};

INSTANTIATE_TEST_SUITE_P(fences, gate_stress, testing::Bool(), stress::name_of_fences);

struct guarded {
  gate door;
  std::atomic<bool> any{false};  // a hint for those outside, as a worker's length is
  // Behind the door, and plain on purpose.
  long queued = 0;
  int occupants = 0;
  long intrusions = 0;

  void come_in() {
    if (++occupants != 1) ++intrusions;
  }
  void go_out() {
    if (--occupants != 0) ++intrusions;
  }
};

struct thief_report {
  std::uint64_t items = 0;
  stress::tally stolen, nothing, lost;
};

void steal(guarded& shared, std::atomic<bool>& over, std::uint64_t seed, thief_report& report) {
  stress::random_source random(seed);
  while (!over.load(std::memory_order_relaxed)) {
    random.dawdle(20);
    if (!shared.any.load(std::memory_order_relaxed) && random.below(16) != 0) {
      std::this_thread::yield();
      continue;
    }
    if (shared.door.try_break_in(random.below(64)) == break_in::lost) {
      ++report.lost;
      std::this_thread::yield();  // whoever is inside may need this processor
      continue;
    }
    shared.come_in();
    const long half = (shared.queued + 1) / 2;
    shared.queued -= half;
    shared.any.store(shared.queued != 0, std::memory_order_relaxed);
    report.items += static_cast<std::uint64_t>(half);
    ++(half != 0 ? report.stolen : report.nothing);
    random.dawdle(20);
    random.give_way(32);
    shared.go_out();
    shared.door.break_out();
    if (half == 0) std::this_thread::yield();
  }
}

TEST_P(gate_stress, nothing_is_lost_and_nobody_meets_another_inside) {
  guarded shared;
  std::atomic<bool> over{false};
  thief_report reports[2];
  std::thread first(steal, std::ref(shared), std::ref(over), 1, std::ref(reports[0]));
  std::thread second(steal, std::ref(shared), std::ref(over), 2, std::ref(reports[1]));

  stress::random_source random(3);
  std::uint64_t pushed = 0, kept = 0;
  const stress::race_clock clock(2);
  const auto both = [&](stress::tally thief_report::*outcome) -> std::uint64_t {
    return reports[0].*outcome + reports[1].*outcome;
  };
  for (std::uint64_t turn = 1;; ++turn) {
    if (turn % 256 == 0 &&
        !clock.goes_on(
            {both(&thief_report::stolen), both(&thief_report::nothing), both(&thief_report::lost)}))
      break;
    shared.door.enter();
    shared.come_in();
    if (random.below(64) == 0) {
      kept += static_cast<std::uint64_t>(std::exchange(shared.queued, 0));
    } else if (random.below(16) == 0) {
      ++shared.queued;
      ++pushed;
    }
    shared.any.store(shared.queued != 0, std::memory_order_relaxed);
    if (random.below(64) == 0) random.dawdle(400);
    random.give_way(2048);  // with fewer processors than threads: inside, but more often outside
    shared.go_out();
    shared.door.leave();
    if (random.below(64) == 0) random.dawdle(400);
    random.give_way(256);
  }
  over = true;
  first.join();
  second.join();

  EXPECT_EQ(shared.intrusions, 0);
  const std::uint64_t stolen = reports[0].items + reports[1].items;
  EXPECT_EQ(kept + stolen + static_cast<std::uint64_t>(shared.queued), pushed);
  stress::each_happens(GetParam() ? "gate, asymmetric" : "gate, fallback",
                       {{"stolen", both(&thief_report::stolen)},
                        {"nothing there", both(&thief_report::nothing)},
                        {"lost", both(&thief_report::lost)}});
}

}  // namespace
