// All interleavings of the production inbox: nothing is lost or doubled, each pusher's nodes keep
// their order, and a push that finds the worker asleep rings.
#include "modes.hpp"

#include <array>

#include "sched/inbox.hpp"

namespace {

using namespace coir::explorer;

class inbox_model : public in_each_mode {};

INSTANTIATE_TEST_SUITE_P(modes, inbox_model, both_memories(), name_of);

struct node {
  node* next = nullptr;
  explored<int> letter = 0;  // the pusher's until the push, the taker's from the take
};

using inbox = coir::sched::basic_inbox<node, &node::next, explorer_atomics>;

template <int pushes>
struct letters {
  inbox box;
  std::array<std::array<node, pushes>, 2> nodes;
  std::array<int, 2> last{};  // the taker's
  int takes = 0;
  atomic<int> first_pushes{0};

  letters() { label(box, "inbox"); }

  void push(std::size_t who) {
    for (int n = 0; n < pushes; ++n) {
      node& mine = nodes[who][static_cast<std::size_t>(n)];
      mine.letter = static_cast<int>(who) * 10 + n + 1;
      if (box.push(mine)) first_pushes.fetch_add(1, std::memory_order_relaxed);
    }
  }
  void first() { push(0); }
  void second() { push(1); }

  void taker() {
    for (int got = 0; got < 2 * pushes;) {
      while (box.empty()) explorer_atomics::pause();
      int at_once = 0;
      for (node* oldest = box.take(); oldest != nullptr; ++at_once) {
        node& mine = *oldest;
        oldest = mine.next;
        const int letter = mine.letter;
        int& before = last[static_cast<std::size_t>(letter / 10)];
        expect(letter % 10 == before + 1, "a letter is lost, doubled or out of order");
        before = letter % 10;
        mine.next = nullptr;  // the taker's again
        mine.letter = 0;
      }
      expect(at_once > 0, "only the taker takes, and yet the inbox is empty");
      ++takes;
      got += at_once;
      outcome(at_once == 1 ? "one at a time" : "several at once");
    }
    expect(box.empty() && box.take() == nullptr, "a letter too many");
  }

  void check() { expect(first_pushes.load() == takes, "a first push is missed or made up"); }
};

TEST_P(inbox_model, nothing_is_lost_or_doubled) {
  using model = letters<2>;
  holds(explore<model>(
            named("inbox, two pushers", 2),
            {{"first", &model::first}, {"second", &model::second}, {"taker", &model::taker}},
            &model::check),
        {"one at a time", "several at once"});
}

TEST_P(inbox_model, nothing_is_lost_or_doubled_under_spurious_failures) {
  using model = letters<1>;
  auto chosen = named("inbox, spurious failures", 3);
  chosen.spurious_failures = true;
  holds(
      explore<model>(
          chosen, {{"first", &model::first}, {"second", &model::second}, {"taker", &model::taker}},
          &model::check),
      {"one at a time", "several at once"});
}

// As worker::post against worker::sleep: push, fence, look whether it sleeps; announce, fence,
// look.
struct sleeping_owner {
  inbox box;
  node nodes[2];
  atomic<bool> asleep{false};
  model_event doorbell;

  sleeping_owner() { label(box, "inbox"), label(asleep, "asleep"); }

  void push(node& mine) {
    mine.letter = 1;
    box.push(mine);
    // The worker's is an exchange alone. The load before it is what may come too early on Arm.
    if (!asleep.load(std::memory_order_relaxed)) return;
    if (asleep.exchange(false, std::memory_order_relaxed)) doorbell.signal();
  }
  void first() { push(nodes[0]); }
  void second() { push(nodes[1]); }

  void owner() {
    for (int got = 0; got < 2;) {
      for (node* oldest = box.take(); oldest != nullptr; oldest = oldest->next)
        got += oldest->letter;
      if (got == 2) break;
      asleep.store(true, std::memory_order_relaxed);
      explorer_atomics::fence();
      if (box.empty()) {
        doorbell.wait();
        outcome("slept");
      } else {
        outcome("saw it at the second look");
      }
      asleep.store(false, std::memory_order_relaxed);
    }
  }
};

TEST_P(inbox_model, a_push_wakes_an_owner_that_falls_asleep) {
  using model = sleeping_owner;
  holds(explore<model>(
            named("inbox, sleeping owner", 3),
            {{"first", &model::first}, {"second", &model::second}, {"owner", &model::owner}}),
        {"slept", "saw it at the second look"});
}

}  // namespace
