// All interleavings of the production gate and spin lock: nobody is inside together with another,
// what one did the next one sees, and nothing is lost.
#include "modes.hpp"

#include <array>
#include <coir/sched/spin_lock.hpp>

#include "sched/gate.hpp"

namespace {

using namespace coir::explorer;
using coir::sched::break_in;

using gate = coir::sched::basic_gate<explorer_atomics>;
using spin_lock = coir::sched::basic_spin_lock<explorer_atomics>;

class gate_model : public in_each_mode {};
class spin_lock_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, gate_model, all_modes(), name_of);
INSTANTIATE_TEST_SUITE_P(modes, spin_lock_model, all_modes(), name_of);

template <int rounds>
struct guarded_queue {
  gate door;
  explored<int> queued = 0;  // behind the door: a race means that two were inside
  std::array<int, 4> got{};  // each thread's own

  guarded_queue() {
    label(door, "gate");
    label(queued, "queued");
  }

  void owner() {
    for (int round = 0; round < rounds; ++round) {
      door.enter();
      queued += 1;
      door.leave();
    }
    door.enter();
    got[0] += queued;
    queued = 0;
    door.leave();
  }

  void thief() {
    if (door.try_break_in(1) == break_in::lost) return outcome("lost");
    const int half = (queued + 1) / 2;
    queued = queued - half;
    got[static_cast<std::size_t>(this_thread())] += half;
    door.break_out();
    outcome(half > 0 ? "stolen" : "nothing there");
  }

  void two_attempts() { thief(), thief(); }

  void check() {
    expect(got[0] + got[1] + got[2] + got[3] + queued == rounds, "an item is lost or doubled");
  }
};

TEST_P(gate_model, owner_and_one_thief_exclude_each_other) {
  using model = guarded_queue<2>;
  holds(explore<model>(named("gate, one thief", 3, 2),
                       {{"owner", &model::owner}, {"thief", &model::two_attempts}}, &model::check),
        {"stolen", "lost", "nothing there"});
}

TEST_P(gate_model, owner_and_two_thieves_exclude_each_other) {
  using model = guarded_queue<1>;
  holds(explore<model>(
            named("gate, two thieves", 2),
            {{"owner", &model::owner}, {"thief 1", &model::thief}, {"thief 2", &model::thief}},
            &model::check),
        {"stolen", "lost", "nothing there"});
}

TEST_P(gate_model, three_thieves_in_random_schedules) {
  using model = guarded_queue<4>;
  auto chosen = named("gate, three thieves", 0);
  chosen.random_executions = sanitized ? 1000 : 20'000;
  holds(explore<model>(chosen,
                       {{"owner", &model::owner},
                        {"thief 1", &model::two_attempts},
                        {"thief 2", &model::two_attempts},
                        {"thief 3", &model::thief}},
                       &model::check),
        {"stolen", "lost", "nothing there"});
}

// The owner goes in again at once, as a yield does that keeps the gate over a switch.
struct impatient_thief {
  gate door;
  explored<int> inside = 0;
  void owner() {
    for (int round = 0; round < 3; ++round) {
      door.enter();
      inside += 1;
      door.leave();
    }
  }
  void thief() {
    if (door.try_break_in(0) == break_in::lost) return outcome("lost");
    inside += 1;
    door.break_out();
    outcome("entered");
  }
};

TEST_P(gate_model, a_thief_without_patience_gives_up_cleanly) {
  using model = impatient_thief;
  holds(explore<model>(
            named("gate, no patience", 2),
            {{"owner", &model::owner}, {"thief 1", &model::thief}, {"thief 2", &model::thief}}),
        {"entered", "lost"});
}

struct locked_counter {
  spin_lock lock;
  explored<int> count = 0;
  void add() {
    lock.lock();
    count += 1;
    lock.unlock();
  }
  void try_to_add() {
    if (!lock.try_lock()) return outcome("taken");
    count += 1;
    lock.unlock();
    outcome("got it");
  }
};

TEST_P(spin_lock_model, its_holders_exclude_each_other) {
  using model = locked_counter;
  holds(explore<model>(
            named("spin lock", 3),
            {{"first", &model::add}, {"second", &model::add}, {"third", &model::try_to_add}}),
        {"taken", "got it"});
}

}  // namespace
