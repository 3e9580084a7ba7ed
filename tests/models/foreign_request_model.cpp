// All interleavings of a cancellation with the wake, the steal, the completion and the rescue of the
// fiber that it is for: it is delivered once, the fiber runs in one place, and nobody waits for ever.
#include "modes.hpp"

#include "foreign_request.hpp"

namespace {

using namespace coir::explorer;
namespace models = coir::sched::models;
using how = coir::sched::outcome;
using worker = models::model_worker<explorer_atomics>;
using fiber = models::model_fiber<explorer_atomics>;
using publication = models::publication<explorer_atomics>;

class foreign_request_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, foreign_request_model, all_modes(), name_of);

// A fiber that makes `waits` waits. Only the first can be granted; the others end by cancellation.
template <int waits, bool operation = false>
struct one_fiber {
  worker here, there;
  fiber f;
  atomic<std::uint64_t> published{0};
  atomic<bool> done{false};
  explored<int> delivered = 0;  // the fiber's
  atomic<int> deliveries{0};    // the same for the canceller

  one_fiber() {
    label(here, "here");
    label(there, "there");
    label(f.claim, "claim word");
    f.home.label("home");
    f.attention.label("attention");
    f.state.label("state");
    label(f.saved_step, "context");
    label(published, "published");
    label(done, "done");
    f.home.store(&here);
    here.ready(f);
  }

  // The fiber's code, from a step on; returns when it has parked or ended.
  void run(worker& on, fiber& self, int step) {
    for (; step < 2 * waits; ++step) {
      if (step % 2 == 0) {
        if (take_pending(self)) continue_after_cancellation(step);
        if (step >= 2 * waits) break;
        self.claim.begin(operation ? how::operating : how::waiting);
        if (operation) return on.park_operation(self, step + 1);
        const publication publish{[](void* at, std::uint64_t generation) {
                                    static_cast<atomic<std::uint64_t>*>(at)->store(
                                        generation, std::memory_order_release);
                                  },
                                  &published};
        if (on.park(self, step + 1, publish)) return;
      } else {
        const how ended = self.claim.finish();
        if (ended == how::cancelled) {
          expect(take_pending(self), "cancelled without a request");
        } else {
          outcome("granted");
        }
      }
    }
    done.store(true, std::memory_order_release);
  }

  bool take_pending(fiber& self) {
    if ((self.attention.load(std::memory_order_relaxed) & models::strikes) == 0) return false;
    self.attention.fetch_and(~std::uint32_t{coir::sched::cancel_requested},
                             std::memory_order_acq_rel);
    delivered += 1;
    deliveries.fetch_add(1, std::memory_order_release);
    return true;
  }
  void continue_after_cancellation(int& step) { step += 2; }

  void work(worker& on) {
    for (;;) {
      // A fiber that was made ready here runs before the wait below, which is a full fence.
      while (on.run_ready([this](worker& at, fiber& who, int step) { run(at, who, step); })) {
      }
      if (operation && on.complete_if_stopped(f)) continue;
      await([this, &on] { return done.load() || on.has_ready() || on.has_messages(); });
      if (done.load(std::memory_order_acquire)) return;
      on.handle_own_messages();
    }
  }

  void owner() { work(here); }

  void granter() {
    await([this] { return published.load() >= 1 || done.load(); });
    published.load(std::memory_order_acquire);
    if (f.claim.claim(1, how::granted)) {
      outcome("woken there");
      there.ready(f);
    }
    work(there);
  }

  void attempt(bool messages) {
    const bool lost =
        there.steal_from(here, messages, 1) == coir::sched::break_in::lost;
    outcome(lost ? "thief lost" : there.has_ready() ? "taken over" : "nothing to take");
    work(there);
  }
  void thief() { attempt(false); }
  void rescuer() { attempt(true); }

  void canceller() { request_cancellation(f); }
  void repeated_canceller() {
    for (int n = 1; n <= waits; ++n) {
      request_cancellation(f);
      await([this, n] { return deliveries.load() >= n; });
      deliveries.load(std::memory_order_acquire);
    }
  }

  void check() {
    const int messages = (here.has_messages() ? 1 : 0) + (there.has_messages() ? 1 : 0);
    expect(f.references.load() == messages, "a reference is lost or given back twice");
    outcome(messages != 0 ? "message outlives the fiber's last wait" : "message handled");
  }
};

TEST_P(foreign_request_model, cancel_and_a_wake_by_another_worker) {
  using model = one_fiber<2>;
  holds(explore<model>(named("cancel and wake", 2), {{"owner", &model::owner},
                                                     {"granter", &model::granter},
                                                     {"canceller", &model::canceller}},
                       &model::check),
        {"granted", "woken there", "message handled"});
}

TEST_P(foreign_request_model, cancel_and_a_steal) {
  using model = one_fiber<1>;
  holds(explore<model>(named("cancel and steal", 2), {{"owner", &model::owner},
                                                      {"thief", &model::thief},
                                                      {"canceller", &model::canceller}},
                       &model::check),
        {"taken over", "thief lost", "nothing to take", "message handled"});
}

TEST_P(foreign_request_model, cancel_and_a_rescue_from_a_hog) {
  using model = one_fiber<1>;
  holds(explore<model>(named("cancel and rescue", 2), {{"owner", &model::owner},
                                                       {"rescuer", &model::rescuer},
                                                       {"canceller", &model::canceller}},
                       &model::check),
        {"taken over", "thief lost", "nothing to take", "message handled"});
}

TEST_P(foreign_request_model, cancel_of_an_operation_and_a_rescue) {
  using model = one_fiber<1, true>;
  holds(explore<model>(named("cancel and completion", 2), {{"owner", &model::owner},
                                                           {"rescuer", &model::rescuer},
                                                           {"canceller", &model::canceller}},
                       &model::check),
        {"taken over", "thief lost", "nothing to take", "message handled"});
}

TEST_P(foreign_request_model, each_of_two_cancellations_is_delivered) {
  using model = one_fiber<2>;
  holds(explore<model>(named("two cancellations", 2), {{"owner", &model::owner},
                                                       {"thief", &model::thief},
                                                       {"canceller", &model::repeated_canceller}},
                       &model::check),
        {"message handled"});
}

}  // namespace
