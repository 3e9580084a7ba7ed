// All interleavings of a cancellation with the wake, the steal, the completion and the rescue of
// the fiber that it is for: it is delivered, the fiber runs in one place, and nobody waits for
// ever.
#include "foreign_request.hpp"

#include "modes.hpp"

namespace {

using namespace coir::explorer;
using coir::sched::break_in;
using how = coir::sched::outcome;
using worker = coir::sched::models::model_worker<explorer_atomics>;
using fiber = coir::sched::models::model_fiber<explorer_atomics>;

class foreign_request_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, foreign_request_model, all_modes(), name_of);

enum class waits_in { wait, operation };

// A fiber that waits again and again until it has been cancelled so many times. Its first wait may
// also be granted, in some models; whatever else is lost leaves it waiting, which is a deadlock.
template <int cancellations, waits_in kind = waits_in::wait>
struct one_fiber {
  worker here, there;
  fiber f;
  atomic<std::uint64_t> published{0};  // the generation: stands for a wait queue and its lock
  explored<int> delivered = 0;         // the fiber's
  int deliveries = 0;                  // the same, for the canceller
  bool done = false;

  explicit one_fiber(bool born = true) {
    label(here, "here");
    label(there, "there");
    label(f.claim, "claim word");
    f.home.label("home");
    f.attention.label("attention");
    label(f.saved_step, "context");
    published.label("published");
    if (!born) return;
    f.home.store(&here);
    here.ready(f);
  }

  // The fiber's code: begins a wait at step 0, comes out of it at step 1. Returns when it is
  // parked.
  void run(worker& on, int step) {
    for (;; step = 1 - step) {
      if (step == 1) {
        const how ended = f.claim.finish();
        if (ended == how::cancelled) {
          expect(f.asked(), "cancelled without a request");
        } else if (kind == waits_in::wait) {
          outcome("granted");
        }
      }
      if (f.asked()) deliver();
      if (delivered == cancellations) break;
      if (step == 1) continue;
      if (park(on)) return;
    }
    done = true;
  }

  void deliver() {
    f.take_request();
    delivered += 1;
    ++deliveries;
  }

  bool park(worker& on) {
    f.claim.begin(kind == waits_in::operation ? how::operating : how::waiting);
    if (kind == waits_in::operation) return on.park_operation(f, 1), true;
    return on.park(f, 1, [this](std::uint64_t generation) {
      published.store(generation, std::memory_order_release);
    });
  }

  void work(worker& on) {
    for (;;) {
      // What was made ready here runs before the await below, which is a full fence.
      int step = 0;
      while (on.has_ready())
        if (on.take_next(step) != nullptr) run(on, step);
      if (kind == waits_in::operation && on.complete_if_stopped(f)) continue;
      await([this, &on] { return done || on.has_ready() || on.has_messages(); });
      if (on.has_ready()) continue;
      if (done) return;
      on.handle_messages();
    }
  }

  void owner() { work(here); }

  void granter() {
    await([this] { return published.load() >= 1 || done; });
    if (published.load(std::memory_order_acquire) >= 1 && f.claim.claim(1, how::granted)) {
      outcome("woken there");
      there.ready(f);
    }
    work(there);
  }

  void thief() { attempt(false); }
  void rescuer() { attempt(true); }
  void attempt(bool hog) {
    const bool lost = there.steal_from(here, hog, 1) == break_in::lost;
    outcome(lost ? "thief lost" : there.has_ready() ? "taken over" : "nothing to take over");
    work(there);
  }

  void canceller() {
    for (int n = 1; n <= cancellations; ++n) {
      request_cancellation(f);
      if (n < cancellations) await([this, n] { return deliveries == n; });
    }
  }

  void check() {
    const int left = (here.has_messages() ? 1 : 0) + (there.has_messages() ? 1 : 0);
    expect(f.messages == left, "a message is lost or doubled");
    outcome(left != 0 ? "message outlives the waits" : "message handled");
  }
};

TEST_P(foreign_request_model, cancel_and_a_wake_by_another_worker) {
  using model = one_fiber<1>;
  holds(explore<model>(long_buffers(named("cancel and wake", 2)),
                       {{"owner", &model::owner},
                        {"granter", &model::granter},
                        {"canceller", &model::canceller}},
                       &model::check),
        {"granted", "woken there", "message handled"});
}

TEST_P(foreign_request_model, cancel_and_a_steal) {
  using model = one_fiber<1>;
  holds(explore<model>(
            long_buffers(named("cancel and steal", 2)),
            {{"owner", &model::owner}, {"thief", &model::thief}, {"canceller", &model::canceller}},
            &model::check),
        {"taken over", "thief lost", "nothing to take over", "message handled"});
}

TEST_P(foreign_request_model, cancel_and_a_rescue_from_a_hog) {
  using model = one_fiber<1>;
  holds(explore<model>(long_buffers(named("cancel and rescue", 2)),
                       {{"owner", &model::owner},
                        {"rescuer", &model::rescuer},
                        {"canceller", &model::canceller}},
                       &model::check),
        {"taken over", "thief lost", "nothing to take over", "message handled"});
}

TEST_P(foreign_request_model, cancel_of_an_operation_and_a_rescue) {
  using model = one_fiber<1, waits_in::operation>;
  holds(explore<model>(long_buffers(named("cancel and completion", 2)),
                       {{"owner", &model::owner},
                        {"rescuer", &model::rescuer},
                        {"canceller", &model::canceller}},
                       &model::check),
        {"taken over", "thief lost", "nothing to take over", "message handled"});
}

// A request that finds no home: the fiber is being spawned, and runs at once.
struct newborn : one_fiber<1> {
  newborn() : one_fiber(false) {}

  void spawner() {
    here.start(f);
    work(here);
  }
};

TEST_P(foreign_request_model, cancel_of_a_fiber_that_is_being_spawned) {
  holds(explore<newborn>(long_buffers(named("cancel and spawn", 2)),
                         {{"spawner", &newborn::spawner}, {"canceller", &newborn::canceller}},
                         &newborn::check),
        {"message handled"});
}

TEST_P(foreign_request_model, each_of_two_cancellations_is_delivered) {
  using model = one_fiber<2>;
  holds(explore<model>(long_buffers(named("two cancellations", 2, 1)),
                       {{"owner", &model::owner},
                        {"granter", &model::granter},
                        {"canceller", &model::canceller}},
                       &model::check),
        {"granted", "message handled"});
}

}  // namespace
