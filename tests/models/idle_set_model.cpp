// All interleavings of push against sleep on the production idle set: no push is left to workers
// that all sleep, whoever pushes, and the counts add up.
#include "modes.hpp"

#include <array>
#include <coir/sched/spin_lock.hpp>
#include <vector>

#include "sched/idle_set.hpp"
#include "sched/inbox.hpp"

namespace {

using namespace coir::explorer;

using idle_set = coir::sched::basic_idle_set<explorer_atomics>;
using spin_lock = coir::sched::basic_spin_lock<explorer_atomics>;

class idle_set_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, idle_set_model, all_modes(), name_of);

enum class pusher_is { worker, foreign_thread };

// Worker 0 pushes, or a thread that is no worker does, and then never looks again. The others take
// one item each and are busy from then on. So every item needs a worker of its own, awake.
template <unsigned workers, pusher_is kind, int pushes>
struct pushed_work {
  idle_set idle{workers};
  spin_lock lock;            // stands for the gate: of the pusher's queue
  explored<int> queued = 0;  // behind it
  atomic<int> length{0};     // what others see of it
  std::array<model_event, workers> doorbells;

  pushed_work() {
    label(idle, "idle set");
    label(lock, "queue lock");
    label(queued, "queue");
    length.label("length");
  }

  void change_queue(int by) {
    queued += by;
    length.store(queued, std::memory_order_relaxed);
  }

  void ring(unsigned sleeper) {
    if (sleeper == idle_set::nobody) return;
    outcome("a sleeper is picked");
    doorbells[sleeper].signal();
  }

  void pusher() {
    for (int n = 0; n < pushes; ++n) {
      lock.lock();
      change_queue(1);
      lock.unlock();
      if (kind == pusher_is::worker)
        explorer_atomics::light_fence();
      else
        explorer_atomics::fence();
      ring(idle.pick_for_work());
    }
  }

  bool take() {
    if (length.load(std::memory_order_relaxed) == 0) return false;
    lock.lock();
    const bool found = queued > 0;
    if (found) change_queue(-1);
    lock.unlock();
    return found;
  }

  void sleep(unsigned me, bool& searching) {
    idle.announce(me, searching);
    searching = false;
    if (length.load(std::memory_order_relaxed) == 0) {
      doorbells[me].wait();
      outcome("slept");
    } else {
      outcome("saw it at the second look");
    }
    if (!idle.retract(me)) searching = true;
  }

  // Pushes made meanwhile have relied on this searcher: worker::end_search.
  void end_search() {
    if (!idle.stop_searching()) return;
    if (length.load(std::memory_order_relaxed) != 0) ring(idle.pick_for_work());
  }

  void work(unsigned me) {
    for (bool searching = false;;) {
      // What foreign threads have brought is taken by whoever looks, searching or not. One that has
      // announced itself and then sees work is no searcher, but a pusher may have relied on it when
      // it was: it passes on what it leaves.
      const bool injected = kind == pusher_is::foreign_thread && take();
      if (injected && !searching) {
        if (length.load(std::memory_order_relaxed) != 0) ring(idle.pick_for_work());
        return;
      }
      if (searching || idle.start_searching()) {
        searching = true;
        if (injected || take()) return end_search();
      } else {
        outcome("enough search");
      }
      sleep(me, searching);
    }
  }

  static constexpr unsigned first = kind == pusher_is::worker ? 1 : 0;
  void taker() { work(first); }
  void other_taker() { work(first + 1); }

  void check() {
    expect(queued == 0, "an item is left");
    expect(idle.sleeping() == 0, "a worker that is awake counts as a sleeper");
    // Who was picked and found nothing to take is still on its way; nobody else.
    expect(idle.searching() == 0, "a worker that has stopped searching still counts");
  }
};

TEST_P(idle_set_model, a_worker_pushes_and_another_sleeps) {
  using model = pushed_work<2, pusher_is::worker, 1>;
  holds(explore<model>(named("idle, worker pushes", 3),
                       {{"pusher", &model::pusher}, {"taker", &model::taker}}, &model::check),
        {"slept", "saw it at the second look", "a sleeper is picked"});
}

TEST_P(idle_set_model, a_worker_pushes_twice_and_two_sleep) {
  using model = pushed_work<3, pusher_is::worker, 2>;
  holds(explore<model>(
            long_buffers(named("idle, two sleepers", 2, 1)),
            {{"pusher", &model::pusher}, {"taker", &model::taker}, {"other", &model::other_taker}},
            &model::check),
        {"slept", "saw it at the second look", "a sleeper is picked"});
}

// F23, F25
TEST_P(idle_set_model, a_foreign_thread_pushes_and_two_sleep) {
  using model = pushed_work<2, pusher_is::foreign_thread, 2>;
  holds(explore<model>(
            long_buffers(named("idle, foreign thread", 2, 1)),
            {{"pusher", &model::pusher}, {"taker", &model::taker}, {"other", &model::other_taker}},
            &model::check),
        {"slept", "saw it at the second look", "a sleeper is picked", "enough search"});
}

// A worker that sleeps is picked by a foreign thread, pushes, and never looks again, while the
// other one falls asleep. Who falls asleep as the last that was awake takes the full fence in place
// of the heavy one, and a push by whoever leaves the list after that must be found all the same.
struct pushed_by_who_slept {
  idle_set idle{2};
  atomic<int> length{0};
  std::array<model_event, 2> doorbells;

  pushed_by_who_slept() { label(idle, "idle set"), length.label("length"); }

  // The foreign thread that picks it is the same one here: the list's lock orders the two.
  void pusher() {
    idle.announce(0, false);
    while (idle.pick_any() != 0) doorbells[1].signal();
    if (!idle.retract(0)) (void)idle.stop_searching();
    length.store(1, std::memory_order_relaxed);
    explorer_atomics::light_fence();
    const unsigned sleeper = idle.pick_for_work();
    if (sleeper == idle_set::nobody) return;
    outcome("the taker is picked");
    doorbells[sleeper].signal();
  }
  void taker() {
    idle.announce(1, false);
    if (length.load(std::memory_order_relaxed) == 0) {
      doorbells[1].wait();
      outcome("slept");
    } else {
      outcome("saw it at the second look");
    }
    if (!idle.retract(1)) (void)idle.stop_searching();
    while (length.load(std::memory_order_relaxed) == 0) {  // the picker took this one first
      outcome("picked for nothing");
      explorer_atomics::pause(0);
    }
  }
};

TEST_P(idle_set_model, a_worker_that_slept_pushes_and_the_last_that_is_awake_falls_asleep) {
  using model = pushed_by_who_slept;
  holds(explore<model>(long_buffers(named("idle, all sleep", 3)),
                       {{"pusher", &model::pusher}, {"taker", &model::taker}}),
        {"slept", "saw it at the second look", "the taker is picked", "picked for nothing"});
}

// worker::post against worker::sleep: the message is for this worker alone.
template <unsigned workers>
struct message_for_one {
  struct node {
    node* next = nullptr;
  };
  idle_set idle{workers};
  coir::sched::basic_inbox<node, &node::next, explorer_atomics> inbox;
  node message;
  atomic<bool> asleep{false};
  model_event doorbell;

  message_for_one() { label(idle, "idle set"), label(inbox, "inbox"), asleep.label("asleep"); }

  void poster() {
    inbox.push(message);
    if (asleep.load(std::memory_order_relaxed) && asleep.exchange(false, std::memory_order_relaxed))
      doorbell.signal();
  }

  void worker() {
    for (bool searching = false; inbox.take() == nullptr;) {
      asleep.store(true, std::memory_order_relaxed);
      idle.announce(0, std::exchange(searching, false));
      if (inbox.empty()) {
        doorbell.wait();
        outcome("slept");
      } else {
        outcome("saw it at the second look");
      }
      asleep.store(false, std::memory_order_relaxed);
      if (!idle.retract(0)) searching = true;
    }
  }
};

TEST_P(idle_set_model, a_message_wakes_the_worker_it_is_for) {
  using one = message_for_one<1>;
  holds(explore<one>(named("idle, message to the only worker", 3),
                     {{"poster", &one::poster}, {"worker", &one::worker}}),
        {"slept", "saw it at the second look"});
  using many = message_for_one<2>;
  holds(explore<many>(named("idle, message to one of many", 3),
                      {{"poster", &many::poster}, {"worker", &many::worker}}),
        {"slept", "saw it at the second look"});
}

// Picked and awake at the same time: the list and the counts stay one.
struct churn {
  idle_set idle{3};
  atomic<int> picked{0};
  void sleeper(unsigned me) {
    idle.announce(me, false);
    if (idle.retract(me)) return outcome("retracted");
    picked.fetch_sub(1, std::memory_order_relaxed);
    idle.stop_searching();
    outcome("picked");
  }
  void first() { sleeper(0); }
  void second() { sleeper(1); }
  void picker() {
    if (idle.pick_for_work() != idle_set::nobody) picked.fetch_add(1, std::memory_order_relaxed);
    if (idle.pick_any() != idle_set::nobody) picked.fetch_add(1, std::memory_order_relaxed);
  }
  void check() {
    expect(picked.load() == 0, "picked, and the sleeper does not know");
    expect(idle.sleeping() == 0 && idle.searching() == 0, "the counts do not add up");
  }
};

TEST_P(idle_set_model, a_sleeper_is_picked_or_retracts_itself) {
  holds(explore<churn>(
            long_buffers(named("idle, churn", 2, 1)),
            {{"first", &churn::first}, {"second", &churn::second}, {"picker", &churn::picker}},
            &churn::check),
        {"picked", "retracted"});
}

}  // namespace
