// All interleavings of the production channel core: of pushes, pops, selects, close and
// cancellation no item is lost or doubled, a claimed wait is woken once, and nobody waits for ever.
// How a waiter blocks is the model's: a token, as a plain thread's.
#include "modes.hpp"

#include <array>
#include <coir/sched/claim_word.hpp>
#include <optional>
#include <span>

#include "sched/sync/channel_match.hpp"
#include "sched/sync/select_chain.hpp"

namespace {

using namespace coir::explorer;
namespace sched = coir::sched;
using sched::deal;
using sched::item_functions;
using how = coir::sched::outcome;

struct model_waiter {
  sched::basic_claim_word<explorer_atomics> claim;
  atomic<std::uint64_t> waits{0};  // the generation, for who would cancel it
  atomic<int> token{0};
};

struct model_platform {
  using lock = sched::basic_spin_lock<explorer_atomics>;
  using waiter = model_waiter;
  static void wake(waiter& w) noexcept {
    expect(w.token.load(std::memory_order_relaxed) == 0, "woken twice");
    w.token.store(1, std::memory_order_release);
  }
};

using core = sched::basic_channel_core<model_platform>;
using a_case = sched::basic_channel_case<model_platform>;
using a_match = sched::basic_channel_match<model_platform>;
using item = explored<int>;  // moved while no lock is held, unless its functions say otherwise

constexpr item_functions outside = sched::make_item_functions<item>();
constexpr item_functions under_lock = [] {
  item_functions f = outside;
  f.under_lock = true;
  return f;
}();

// Null: the wait was cancelled, and nothing has happened.
a_case* wait_for(model_waiter& me, std::span<a_case> cases, a_case* chain) {
  sched::basic_channel_wait<model_platform> wait;
  wait.who = &me;
  wait.generation = me.claim.begin();
  for (a_case& c : cases) {
    c.wait = &wait;
    c.channel->link_locked(c);
  }
  me.waits.store(wait.generation, std::memory_order_release);
  unlock_chain(chain);
  for (unsigned turn = 0; me.token.exchange(0, std::memory_order_acquire) == 0;)
    explorer_atomics::pause(turn++);
  const how ended = me.claim.finish();
  a_case* const chosen = ended == how::granted ? wait.chosen : nullptr;
  unlink_losers(cases, chosen);
  return chosen;
}

// As sched/sync/channel_core.cpp: takes the first that can be had, or waits.
a_case* offer_any(model_waiter& me, std::span<a_case> cases, bool may_wait = true) {
  a_case* const chain = chain_locks(cases);
  a_match m;
  lock_chain(chain);
  for (a_case& c : cases)
    if (c.channel->match_locked(c.pushes, c.value, m)) {
      unlock_chain(chain);
      c.agreed = c.channel->settle(c.pushes, c.value, m);
      return &c;
    }
  if (!may_wait) return unlock_chain(chain), nullptr;
  a_case* const chosen = wait_for(me, cases, chain);
  if (chosen == nullptr) return nullptr;
  m.agreed = chosen->agreed;
  m.slot = chosen->slot;
  chosen->agreed = chosen->channel->settle(chosen->pushes, chosen->value, m);
  return chosen;
}

void offer(a_case& c, core& channel, void* value, bool pushes) {
  c.channel = &channel;
  c.value = value;
  c.pushes = pushes;
}

deal push(model_waiter& me, core& to, int value, bool may_wait = true) {
  item pushed(value);
  std::array<a_case, 1> c;
  offer(c[0], to, &pushed, true);
  return offer_any(me, c, may_wait) != nullptr ? c[0].agreed : deal::none;
}
// The item; 0: none, -1: closed.
int pop(model_waiter& me, core& from) {
  std::optional<item> out;
  std::array<a_case, 1> c;
  offer(c[0], from, &out, false);
  if (offer_any(me, c) == nullptr) return 0;
  return c[0].agreed == deal::closed ? -1 : static_cast<int>(*out);
}

class channel_model : public in_each_mode {};
INSTANTIATE_TEST_SUITE_P(modes, channel_model, both_memories(), name_of);

// --- a pop that waits, one who may give it an item, one who cancels it

template <const item_functions& items, std::size_t capacity>
struct one_pop {
  core channel{capacity, items};
  model_waiter popper_of, pusher_of;
  int got = 0, given = 0;

  void popper() {
    got = pop(popper_of, channel);
    outcome(got == 0 ? "cancelled" : "got it");
  }
  void pusher() {
    if (push(pusher_of, channel, 7, false) == deal::none) return outcome("nobody there");
    given = 7;
  }
  void canceller() {
    const auto wait = popper_of.waits.load(std::memory_order_acquire);
    if (wait == 0) {
      await([this] { return popper_of.waits.load() != 0 || given != 0; });
      if (popper_of.waits.load() == 0) return outcome("never waited");
    }
    if (popper_of.claim.claim(1, how::cancelled))
      model_platform::wake(popper_of);
    else
      outcome("cancelled too late");
  }
  void check() {
    a_match m;
    std::optional<item> left;
    if (channel.match_locked(false, &left, m)) channel.settle(false, &left, m);
    const int stored = left ? static_cast<int>(*left) : 0;
    expect(got + stored == given, "an item is lost or made");
  }
};

template <const item_functions& items, std::size_t capacity>
result explore_one_pop(const options& chosen) {
  using model = one_pop<items, capacity>;
  return explore<model>(
      chosen,
      {{"popper", &model::popper}, {"pusher", &model::pusher}, {"canceller", &model::canceller}},
      &model::check);
}

TEST_P(channel_model, a_cancelled_pop_loses_no_item) {
  const auto bound = [](const char* name) { return long_buffers(named(name, 2)); };
  holds(explore_one_pop<outside, 0>(bound("pop, 0")),
        {"got it", "cancelled", "cancelled too late", "nobody there"});
  holds(explore_one_pop<under_lock, 0>(bound("pop, 0, locked")),
        {"got it", "cancelled", "cancelled too late", "nobody there"});
  holds(explore_one_pop<outside, 1>(bound("pop, 1")), {"got it", "cancelled", "never waited"});
  holds(explore_one_pop<under_lock, 1>(bound("pop, 1, locked")), {"got it", "cancelled"});
}

// --- two pushes over a channel of one, and who pops both

template <const item_functions& items>
struct full_channel {
  core channel{1, items};
  std::array<model_waiter, 3> of;
  int sum = 0;

  void first() { push(of[0], channel, 1); }
  void second() { push(of[1], channel, 2); }
  void popper() {
    const int a = pop(of[2], channel), b = pop(of[2], channel);
    sum = a + b;
    outcome(a == 1 ? "first, second" : "second, first");
  }
  void check() { expect(sum == 3, "an item is lost or doubled"); }
};

template <const item_functions& items>
result explore_full(const options& chosen) {
  using model = full_channel<items>;
  return explore<model>(
      chosen, {{"first", &model::first}, {"second", &model::second}, {"popper", &model::popper}},
      &model::check);
}

// The same with one pop: whoever waits gets the place, though nobody comes for its item.
template <const item_functions& items>
struct freed_place {
  core channel{1, items};
  std::array<model_waiter, 3> of;
  int popped = 0;

  void first() { push(of[0], channel, 1); }
  void second() { push(of[1], channel, 2); }
  void popper() {
    popped = pop(of[2], channel);
    outcome(popped == 1 ? "first" : "second");
  }
  void check() {
    expect(channel.size() == 1, "an item is lost or doubled");
    std::optional<item> out;
    a_match m;
    channel.lock();
    const bool one = channel.match_locked(false, &out, m);
    channel.unlock();
    expect(one, "the item that is left cannot be had");
    channel.settle(false, &out, m);
    expect(popped + static_cast<int>(*out) == 3, "an item is lost or doubled");
  }
};

template <const item_functions& items>
result explore_freed_place(const options& chosen) {
  using model = freed_place<items>;
  return explore<model>(
      chosen, {{"first", &model::first}, {"second", &model::second}, {"popper", &model::popper}},
      &model::check);
}

TEST_P(channel_model, pushes_that_wait_for_a_place_get_it) {
  holds(explore_freed_place<outside>(long_buffers(named("freed place", 2, 1))),
        {"first", "second"});
  holds(explore_freed_place<under_lock>(long_buffers(named("freed place, locked", 2, 1))),
        {"first", "second"});
  holds(explore_full<outside>(long_buffers(named("full", 2, 1))),
        {"first, second", "second, first"});
  holds(explore_full<under_lock>(long_buffers(named("full, locked", 2, 1))),
        {"first, second", "second, first"});
}

// --- two selects that offer each other both sides of two channels

template <const item_functions& items>
struct crossed_selects {
  core a{0, items}, b{0, items};
  std::array<model_waiter, 2> of;
  std::array<int, 2> got{};
  std::array<bool, 2> gave{};

  void select_on(std::size_t me, core& pops, core& pushes) {
    std::optional<item> out;
    item mine(static_cast<int>(me) + 1);
    std::array<a_case, 2> cases;
    offer(cases[0], pops, &out, false);
    offer(cases[1], pushes, &mine, true);
    const a_case* const c = offer_any(of[me], cases);
    expect(c != nullptr, "nobody cancels here");
    expect((c == &cases[0]) == out.has_value(), "an item without its case");
    if (out)
      got[me] = *out;
    else
      gave[me] = true;
  }
  void first() { select_on(0, a, b); }
  void second() { select_on(1, b, a); }
  void check() {
    outcome(gave[0] ? "the first gave" : "the second gave");
    expect(gave[0] != gave[1], "both gave, or both took");
    expect(got[0] == (gave[1] ? 2 : 0) && got[1] == (gave[0] ? 1 : 0), "another item");
  }
};

template <const item_functions& items>
result explore_crossed(const options& chosen) {
  using model = crossed_selects<items>;
  return explore<model>(chosen, {{"first", &model::first}, {"second", &model::second}},
                        &model::check);
}

TEST_P(channel_model, selects_over_the_same_channels_meet_once) {
  // Who comes first waits, and its first case is what the other looks at last.
  holds(explore_crossed<outside>(long_buffers(named("crossed", 4, 3))),
        {"the first gave", "the second gave"});
  holds(explore_crossed<under_lock>(long_buffers(named("crossed, locked", 4, 3))),
        {"the first gave", "the second gave"});
}

// --- a select that waits for two channels, to both of which somebody pushes at once

struct waited_select {
  core a{0, outside}, b{0, outside};
  std::array<model_waiter, 3> of;
  int got = 0;
  std::array<bool, 2> gave{};

  void selects() {
    std::array<std::optional<item>, 2> out;
    std::array<a_case, 2> cases;
    offer(cases[0], a, &out[0], false);
    offer(cases[1], b, &out[1], false);
    offer_any(of[0], cases);
    expect(out[0].has_value() != out[1].has_value(), "two cases at once");
    got = out[0] ? static_cast<int>(*out[0]) : static_cast<int>(*out[1]);
  }
  void first() { gave[0] = push(of[1], a, 1, false) != deal::none; }
  void second() {
    for (unsigned turn = 0; got == 0 && !gave[0]; ++turn) {
      if (push(of[2], b, 2, false) != deal::none) {
        gave[1] = true;
        return;
      }
      explorer_atomics::pause(turn);
    }
  }
  void check() {
    outcome(got == 1 ? "from the first" : "from the second");
    expect(gave[0] != gave[1], "not exactly one push was taken");
    expect(got == (gave[0] ? 1 : 2), "another item");
  }
};

TEST_P(channel_model, a_select_takes_one_of_two_that_come_at_once) {
  using model = waited_select;
  holds(explore<model>(
            long_buffers(named("select", 1, 0)),
            {{"select", &model::selects}, {"first", &model::first}, {"second", &model::second}},
            &model::check),
        {"from the first", "from the second"});
}

// --- close, while an item is on its way

template <const item_functions& items>
struct closing {
  core channel{1, items};
  std::array<model_waiter, 2> of;
  bool pushed = false, popped = false;

  void pusher() { pushed = push(of[0], channel, 5) == deal::done; }
  void popper() {
    const int got = pop(of[1], channel);
    popped = got == 5;
    outcome(popped ? "popped" : "closed first");
    if (!popped) expect(channel.drained(), "told the end of what has not ended");
  }
  void closer() { channel.close(); }
  void check() {
    outcome(pushed ? "pushed" : "refused");
    expect(pushed == popped, "an item is lost or made");
  }
};

template <const item_functions& items>
result explore_closing(const options& chosen) {
  using model = closing<items>;
  return explore<model>(
      chosen, {{"pusher", &model::pusher}, {"popper", &model::popper}, {"closer", &model::closer}},
      &model::check);
}

TEST_P(channel_model, close_waits_for_no_item_and_loses_none) {
  holds(explore_closing<outside>(long_buffers(named("close", 2, 1))),
        {"popped", "closed first", "pushed", "refused"});
  holds(explore_closing<under_lock>(long_buffers(named("close, locked", 2, 1))),
        {"popped", "closed first", "pushed", "refused"});
}

}  // namespace
