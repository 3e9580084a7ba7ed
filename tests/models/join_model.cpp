// All interleavings of a join that takes its fiber, which has not started, out of the worker's own
// queue, with whoever else takes that fiber: a thief, or who has a stack for it. It is taken once.
#include <coir/sched/claim_word.hpp>
#include <coir/sched/fiber_id.hpp>

#include "modes.hpp"
#include "sched/gate.hpp"
#include "sched/home.hpp"

namespace {

using namespace coir::explorer;
using coir::sched::break_in;

struct worker;

struct task {
  atomic<worker*> home{nullptr};
  atomic<bool> starving{false};
  explored<bool> started = false;  // behind home's gate; a race means that two take it
  bool done() const { return false; }
};

struct worker {
  coir::sched::basic_gate<explorer_atomics> gate;
  explored<task*> queue = nullptr;  // behind the gate
};

struct world {
  using atomics = explorer_atomics;
  using worker = ::worker;
  using fiber = task;
};
using homes = coir::sched::basic_home<world>;

struct join_and_another {
  worker here, there;
  task f;
  atomic<task*> line{nullptr};  // for stacks

  join_and_another() {
    label(here, "here");
    label(there, "there");
    f.home.label("home");
    f.starving.label("starving");
    label(f.started, "started");
    line.label("line for stacks");
    f.home.store(&here);
    here.queue = &f;
  }

  // worker::join_unstarted
  void joiner() {
    if (f.home.load(std::memory_order_relaxed) != &here) return outcome("gone at the first look");
    here.gate.enter();
    if (coir::sched::waits_for_its_start_locked(f, here)) {
      expect(here.queue == &f, "taken out of a queue in which it is not");
      here.queue = nullptr;
      start("joined");
    } else {
      outcome("gone behind the gate");
    }
    here.gate.leave();
  }

  void start(const char* where) {
    expect(!f.started, "started twice");
    f.started = true;
    outcome(where);
  }

  // worker::steal_from, visit::take and finish; then it runs there.
  void thief() {
    if (here.gate.try_break_in(1) == break_in::lost) return outcome("thief lost");
    task* const taken = here.queue;
    here.queue = nullptr;
    if (taken != nullptr) taken->home.store(&there, std::memory_order_relaxed);
    here.gate.break_out();
    if (taken == nullptr) return;
    explorer_atomics::fence();
    there.gate.enter();
    start("stolen");
    there.gate.leave();
  }

  // worker::take_next_locked without a stack, and then the join.
  void starving_joiner() {
    here.gate.enter();
    here.queue = nullptr;
    f.starving.store(true, std::memory_order_release);
    line.store(&f, std::memory_order_release);
    here.gate.leave();
    joiner();
  }

  // worker::feed
  void feeder() {
    task* const fed = line.exchange(nullptr, std::memory_order_acquire);
    if (fed == nullptr) return outcome("not in line yet");
    homes::adopt(*fed, there);
    there.gate.enter();
    start("fed");
    there.gate.leave();
    fed->starving.store(false, std::memory_order_release);
  }
};

class join_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, join_model, all_modes(), name_of);

TEST_P(join_model, a_fiber_that_is_stolen_behind_the_first_look_is_not_joined_here) {
  using model = join_and_another;
  holds(explore<model>(named("join and steal", 3),
                       {{"joiner", &model::joiner}, {"thief", &model::thief}}),
        {"joined", "stolen", "thief lost", "gone at the first look", "gone behind the gate"});
}

TEST_P(join_model, a_fiber_that_waits_for_a_stack_is_left_to_who_has_one) {
  using model = join_and_another;
  holds(explore<model>(named("join and feed", 3),
                       {{"joiner", &model::starving_joiner}, {"feeder", &model::feeder}}),
        {"fed", "not in line yet", "gone at the first look", "gone behind the gate"});
}

// The wait of such a joiner, when its fiber ends on the joiner's worker, and when it is claimed by
// another: a thief that takes up what lies behind that worker's gate.
struct end_and_another {
  using how = coir::sched::outcome;

  worker here;
  coir::sched::basic_claim_word<explorer_atomics> word;
  explored<int> winners = 0;  // behind the gate

  end_and_another() {
    label(here, "here");
    label(word, "claim word");
    word.begin();
  }

  // worker::leave
  void ender() {
    here.gate.enter();
    const bool won = word.claim_locked(1, how::granted);
    if (won) winners = winners + 1;
    here.gate.leave();
    outcome(won ? "granted" : "grant lost");
  }

  // worker::steal_from and basic_visit::receive, or visit::take_timers
  void thief() {
    if (here.gate.try_break_in(1) == break_in::lost) return outcome("thief lost");
    const bool won = word.claim(1, how::cancelled);
    if (won) winners = winners + 1;
    here.gate.break_out();
    if (won) outcome("cancelled");
  }

  // The same, and then the joiner waits for something else.
  void ender_too_late() {
    here.gate.enter();
    if (word.claim(1, how::timed_out)) winners = winners + 1;
    word.finish();
    word.begin();
    here.gate.leave();
    ender();
    expect(word.state() == how::waiting, "a later wait is claimed");
  }

  void check() { expect(winners == 1, "not exactly one winner"); }
};

TEST_P(join_model, the_end_of_the_fiber_and_a_cancellation_have_one_winner) {
  using model = end_and_another;
  holds(explore<model>(named("end and cancellation", 3),
                       {{"ender", &model::ender}, {"thief", &model::thief}}, &model::check),
        {"granted", "grant lost", "cancelled", "thief lost"});
}

TEST_P(join_model, the_end_of_the_fiber_does_not_claim_a_later_wait) {
  using model = end_and_another;
  holds(explore<model>(named("end after the wait", 2), {{"ender", &model::ender_too_late}},
                       &model::check),
        {"grant lost"});
}

}  // namespace
