// Brute force on push against sleep: worker 0 pushes items and waits, without ever looking again,
// until others have run them all; each of those is busy from its item on until the round is over.
// So every push needs somebody awake, and one lost wake stops the test.
#include "sched/idle_set.hpp"

#include <gtest/gtest.h>
#include <array>
#include <coir/sched/spin_lock.hpp>
#include <thread>
#include <vector>

#include "stress.hpp"

namespace {

using namespace coir::sched;

constexpr unsigned workers = 3, pushes = workers - 1;

struct shared_work {
  idle_set idle{workers};
  spin_lock lock;
  unsigned queued = 0;  // under lock
  std::atomic<unsigned> length{0};
  std::array<stress::doorbell, workers> doorbells;
  std::atomic<std::uint64_t> taken{0}, round{0};
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> picked{0}, slept{0}, second_look{0}, lost_wakes{0};

  void change_queue(unsigned by) {
    queued += by;
    length.store(queued, std::memory_order_relaxed);
  }
  void push() {
    lock.lock();
    change_queue(1);
    lock.unlock();
    std_atomics::light_fence();
    wake_one();
  }
  bool take() {
    if (length.load(std::memory_order_relaxed) == 0) return false;
    lock.lock();
    const bool found = queued != 0;
    if (found) change_queue(~0u);
    lock.unlock();
    return found;
  }
  void wake_one() {
    const unsigned sleeper = idle.pick_for_work();
    if (sleeper == idle_set::nobody) return;
    picked.fetch_add(1, std::memory_order_relaxed);
    doorbells[sleeper].signal();
  }
  void end_search() {
    if (idle.stop_searching() && length.load(std::memory_order_relaxed) != 0) wake_one();
  }
  void sleep(unsigned me, bool& searching) {
    idle.announce(me, std::exchange(searching, false));
    if (length.load(std::memory_order_relaxed) == 0 && !over.load(std::memory_order_acquire)) {
      slept.fetch_add(1, std::memory_order_relaxed);
      if (!doorbells[me].wait()) lost_wakes.fetch_add(1), over.store(true);
    } else {
      second_look.fetch_add(1, std::memory_order_relaxed);
    }
    if (!idle.retract(me)) searching = true;
  }
  void work(unsigned me) {
    stress::random_source random(me);
    for (bool searching = false; !over.load(std::memory_order_acquire);) {
      if (searching || idle.start_searching()) {
        searching = true;
        bool found = take();
        for (unsigned looks = random.below(40); !found && looks > 0; --looks) found = take();
        if (found) {
          searching = false;
          end_search();
          run_item();
          continue;
        }
      }
      random.give_way(3);  // a push in here is seen at the second look
      sleep(me, searching);
    }
  }
  void run_item() {
    const auto mine = round.load(std::memory_order_acquire);
    taken.fetch_add(1, std::memory_order_acq_rel);
    (void)stress::eventually([&] {
      return round.load(std::memory_order_acquire) != mine || over.load(std::memory_order_relaxed);
    });
  }
};

class idle_set_stress : public stress::with_both_fences {};

INSTANTIATE_TEST_SUITE_P(fences, idle_set_stress, testing::Bool(), stress::name_of_fences);

TEST_P(idle_set_stress, every_push_finds_somebody_awake) {
  shared_work shared;
  std::vector<std::thread> threads;
  for (unsigned me = 1; me < workers; ++me) threads.emplace_back([&, me] { shared.work(me); });
  stress::random_source random(7);
  const stress::race_clock clock(2);
  while (!shared.over && clock.goes_on({shared.picked, shared.slept, shared.second_look})) {
    for (unsigned n = 0; n < pushes; ++n) {
      shared.push();
      random.dawdle(100);
    }
    const bool all = stress::eventually([&] { return shared.taken >= pushes || shared.over; });
    EXPECT_TRUE(all && !shared.over)
        << "a push has woken nobody: " << shared.taken << " of " << pushes << " taken";
    if (!all) break;
    shared.taken = 0;
    shared.round.fetch_add(1, std::memory_order_release);
    if (random.below(2) == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(random.below(100)));
    else
      random.give_way(2);
  }
  shared.over = true;
  for (auto& bell : shared.doorbells) bell.signal();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(shared.lost_wakes, 0u);
  std::printf("[race] idle set: %llu rounds\n", static_cast<unsigned long long>(shared.round));
  stress::each_happens(GetParam() ? "idle set, asymmetric" : "idle set, fallback",
                       {{"sleeper picked", shared.picked},
                        {"slept", shared.slept},
                        {"seen at the second look", shared.second_look}});
}

}  // namespace
