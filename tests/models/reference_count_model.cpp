// All interleavings of the production count of references: the result is destroyed once, by who had
// the last one, after everybody else has done with it.
#include "modes.hpp"

#include <coir/sched/reference_count.hpp>

namespace {

using namespace coir::explorer;

class reference_count_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, reference_count_model, both_memories(), name_of);

struct counted {
  coir::sched::basic_reference_count<explorer_atomics> count;
  // What each does before it lets go; a race means that somebody destroys it before.
  explored<int> by_fiber = 0, by_handle = 0, by_copy = 0, by_walker = 0;
  explored<int> destroyed = 0;

  counted() {
    label(count, "references");
    label(destroyed, "destroyed");
    count.begin();
  }

  void destroy(const char* who) {
    expect(by_fiber == 1, "destroyed before the fiber's end");
    expect(by_handle == 1, "destroyed under the handle");
    by_copy = by_copy + by_walker;
    expect(destroyed == 0, "destroyed twice");
    destroyed = 1;
    outcome(who);
  }

  void fiber() {
    by_fiber = 1;
    if (count.release_at_end()) destroy("by the fiber");
  }
  void handle() {
    by_handle = 1;
    if (count.release()) destroy("by the handle");
  }
  void copied_handle() {
    count.retain();
    handle();
    by_copy = 1;
    if (count.release()) destroy("by the copy");
  }
  // runtime_core::drop_unstarted: a fiber that never runs.
  void refused() {
    by_fiber = 1;
    by_handle = 1;
    if (count.release()) destroy("too early");
    if (count.release()) destroy("by the spawner");
  }
  void walker() {
    if (!count.retain_before_end()) return outcome("has ended");
    by_walker = by_walker + 1;
    if (count.release()) destroy("by the walker");
  }
  void check() { expect(destroyed == 1, "never destroyed"); }
};

TEST_P(reference_count_model, the_last_to_let_go_destroys_the_result) {
  using model = counted;
  holds(
      explore<model>(
          named("references", 3),
          {{"fiber", &model::fiber}, {"handle", &model::copied_handle}, {"walker", &model::walker}},
          &model::check),
      {"by the fiber", "by the copy", "by the walker", "has ended"});
}

// Who finds its reference to be the only one does not count it down: nobody may get one meanwhile.
TEST_P(reference_count_model, a_walker_gets_none_beside_who_has_the_only_one) {
  using model = counted;
  holds(explore<model>(
            named("references and a walker", 4),
            {{"fiber", &model::fiber}, {"handle", &model::handle}, {"walker", &model::walker}},
            &model::check),
        {"by the fiber", "by the handle", "by the walker", "has ended"});
}

TEST_P(reference_count_model, a_fiber_that_never_ran_has_not_ended_and_is_counted_down) {
  using model = counted;
  holds(explore<model>(named("references of a refused spawn", 3),
                       {{"spawner", &model::refused}, {"walker", &model::walker}}, &model::check),
        {"by the spawner", "by the walker", "has ended"});
}

}  // namespace
