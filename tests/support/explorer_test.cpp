// The explorer must find what it is for, and must not cry wolf: models with known faults, and the
// same without.
#include "explorer.hpp"

#include <gtest/gtest.h>
#include <array>

namespace {

using namespace coir::explorer;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;

options quiet(const char* name) { return {.name = name, .quiet = true}; }
options loud(const char* name) { return {.name = name}; }

// ---- lost updates, locks ----------------------------------------------------------------------

struct lost_update {
  atomic<int> count{0};
  void add() { count.store(count.load() + 1); }
  void check() { expect(count.load() == 2, "an update is lost"); }
};

TEST(explorer, a_lost_update_is_found_with_the_fewest_preemptions) {
  const auto found = explore<lost_update>(quiet("lost update"),
                                          {{"a", &lost_update::add}, {"b", &lost_update::add}},
                                          &lost_update::check);
  EXPECT_EQ(found.message, "an update is lost");
  EXPECT_NE(found.report.find("store"), std::string::npos);
  EXPECT_NE(found.report.find("0 -> 1"), std::string::npos) << found.report;
}

struct counted_atomically {
  atomic<int> count{0};
  void add() { count.fetch_add(1, relaxed); }
  void add_by_compare() {
    int seen = count.load(relaxed);
    while (!count.compare_exchange_weak(seen, seen + 1, relaxed)) {}
  }
  void check() { expect(count.load() == 3, "an update is lost"); }
};

TEST(explorer, read_modify_writes_lose_no_update) {
  using model = counted_atomically;
  auto chosen = loud("atomic count");
  chosen.spurious_failures = true;
  EXPECT_TRUE(explore<model>(
      chosen, {{"a", &model::add}, {"b", &model::add_by_compare}, {"c", &model::add_by_compare}},
      &model::check));
}

template <bool fenced>
struct peterson {
  std::array<atomic<int>, 2> wants{0, 0};
  atomic<int> turn{0};
  explored<int> guarded = 0;

  void lock(int me) {
    wants[me].store(1, release);
    turn.store(1 - me, release);
    if (fenced) explorer_atomics::fence();
    while (wants[1 - me].load(acquire) == 1 && turn.load(acquire) == 1 - me)
      explorer_atomics::pause();
  }
  void run(int me) {
    for (int round = 0; round < 2; ++round) {
      lock(me);
      guarded += 1;
      wants[me].store(0, release);
    }
  }
  void left() { run(0); }
  void right() { run(1); }
  void check() { expect(guarded == 4, "an increment is lost"); }
};

TEST(explorer, petersons_lock_needs_its_fence) {
  using right = peterson<true>;
  auto chosen = loud("peterson");
  chosen.preemptions = 3;
  EXPECT_TRUE(
      explore<right>(chosen, {{"left", &right::left}, {"right", &right::right}}, &right::check));
  using broken = peterson<false>;
  EXPECT_FALSE(explore<broken>(quiet("peterson, no fence"),
                               {{"left", &broken::left}, {"right", &broken::right}},
                               &broken::check));
}

struct spinning {
  atomic<bool> locked{false};
  explored<int> guarded = 0;
  void run() {
    while (locked.exchange(true, acquire)) explorer_atomics::pause();
    guarded += 1;
    locked.store(false, release);
  }
  void check() { expect(guarded == 3, "an increment is lost"); }
};

TEST(explorer, a_spin_lock_terminates) {
  using model = spinning;
  auto chosen = loud("spin lock");
  chosen.preemptions = 3;
  const auto found = explore<model>(
      chosen, {{"a", &model::run}, {"b", &model::run}, {"c", &model::run}}, &model::check);
  EXPECT_TRUE(found);
  EXPECT_TRUE(found.complete);
}

struct counted_spin {  // gives up, although nobody ever changes anything
  atomic<int> never{0};
  void run() {
    for (int turn = 0; turn < 3 && never.load() == 0; ++turn) explorer_atomics::pause();
    outcome("gave up");
  }
};

TEST(explorer, spinners_that_count_their_turns_are_no_deadlock) {
  using model = counted_spin;
  const auto found = explore<model>(quiet("counted"), {{"a", &model::run}, {"b", &model::run}});
  EXPECT_TRUE(found) << found.report;
  EXPECT_EQ(found.count("gave up"), 2 * found.executions);
}

// ---- deadlocks --------------------------------------------------------------------------------

struct two_locks {
  atomic<bool> first{false}, second{false};
  static void lock(atomic<bool>& which) {
    while (which.exchange(true, acquire)) explorer_atomics::pause();
  }
  void forth() { lock(first), lock(second), second.store(false), first.store(false); }
  void back() { lock(second), lock(first), first.store(false), second.store(false); }
};

TEST(explorer, a_lock_order_inversion_is_a_deadlock) {
  using model = two_locks;
  const auto found =
      explore<model>(quiet("two locks"), {{"forth", &model::forth}, {"back", &model::back}});
  EXPECT_EQ(found.message, "deadlock: forth spins, back spins");
}

template <bool looks_again>
struct sleeper {
  atomic<int> work{0}, asleep{0};
  model_event doorbell;
  void worker() {
    while (work.load() == 0) {
      asleep.store(1);
      if (looks_again && work.load() != 0) return outcome("saw it at the second look");
      doorbell.wait();
      outcome("slept");
    }
  }
  void pusher() {
    work.store(1);
    if (asleep.load() != 0) doorbell.signal();
  }
};

TEST(explorer, a_lost_wake_is_a_deadlock) {
  using right = sleeper<true>;
  const auto held =
      explore<right>(loud("sleeper"), {{"worker", &right::worker}, {"pusher", &right::pusher}});
  EXPECT_TRUE(held);
  EXPECT_GT(held.count("slept"), 0u);
  EXPECT_GT(held.count("saw it at the second look"), 0u);
  using broken = sleeper<false>;
  const auto found = explore<broken>(quiet("sleeper, one look"),
                                     {{"worker", &broken::worker}, {"pusher", &broken::pusher}});
  EXPECT_EQ(found.message, "deadlock: worker waits for an event");
}

struct awaiting {
  atomic<int> stage{0};
  explored<int> message;
  void first() {
    message = 1;
    stage.store(1, release);
  }
  void second() {
    await([this] { return stage.load() == 1; });
    expect(stage.load(acquire) == 1 && message == 1, "awaited too little");
  }
};

TEST(explorer, await_blocks_until_its_predicate_holds_in_memory) {
  using model = awaiting;
  EXPECT_TRUE(
      explore<model>(quiet("await"), {{"first", &model::first}, {"second", &model::second}}));
}

struct endless {
  atomic<int> count{0};
  void run() {
    for (;;) count.fetch_add(1);
  }
};

TEST(explorer, a_thread_without_an_end_is_a_livelock) {
  const auto found = explore<endless>(quiet("endless"), {{"run", &endless::run}});
  EXPECT_NE(found.message.find("livelock"), std::string::npos) << found.message;
}

// ---- lifetime ---------------------------------------------------------------------------------

template <bool touches_after>
struct last_touch {  // a notifier whose wake lets the waiter destroy the primitive
  struct primitive {
    atomic<int> notified{0}, noise{0};
  };
  std::unique_ptr<primitive> shared = std::make_unique<primitive>();
  void waiter() {
    primitive& mine = *shared;
    while (mine.notified.load(acquire) == 0) explorer_atomics::pause();
    shared.reset();
  }
  void notifier() {
    primitive& mine = *shared;
    mine.notified.store(1, release);
    if (touches_after) mine.noise.store(1, relaxed);
  }
};

TEST(explorer, a_use_that_a_destruction_may_overtake_is_found) {
  using right = last_touch<false>;
  EXPECT_TRUE(explore<right>(quiet("last touch"),
                             {{"waiter", &right::waiter}, {"notifier", &right::notifier}}));
  using broken = last_touch<true>;
  const auto found = explore<broken>(
      quiet("touch after"), {{"waiter", &broken::waiter}, {"notifier", &broken::notifier}});
  EXPECT_NE(found.message.find("destroyed"), std::string::npos) << found.message;
}

// ---- a stack with the ABA mistake -------------------------------------------------------------

template <bool counted>
struct treiber_stack {
  struct head_word {
    std::int16_t top;
    std::uint16_t count;
    std::uint32_t unused;
  };
  struct node {
    atomic<std::int16_t> next{-1};
    atomic<int> popped{0};
  };
  std::array<node, 3> nodes;
  atomic<head_word> head{head_word{0, 0, 0}};

  treiber_stack() {
    nodes[0].next.store(1);
    nodes[1].next.store(2);
  }
  int pop() {
    head_word seen = head.load(acquire);
    while (seen.top >= 0) {
      const auto next = nodes[seen.top].next.load(relaxed);
      const head_word wanted{next, static_cast<std::uint16_t>(seen.count + counted), 0};
      if (head.compare_exchange_weak(seen, wanted, acq_rel, acquire)) return seen.top;
    }
    return -1;
  }
  void push(int which) {
    head_word seen = head.load(relaxed);
    head_word wanted;
    do {
      nodes[which].next.store(seen.top, relaxed);
      wanted = {static_cast<std::int16_t>(which), static_cast<std::uint16_t>(seen.count + counted),
                0};
    } while (!head.compare_exchange_weak(seen, wanted, release, relaxed));
  }
  void take(int which) {
    if (which < 0) return;
    expect(nodes[which].popped.exchange(1) == 0, "popped twice");
  }
  void popper() { take(pop()); }
  void shuffler() {
    const int first = pop();
    const int second = pop();
    if (first >= 0) push(first);
    take(second);
  }
};

TEST(explorer, a_stack_with_the_aba_mistake_is_found) {
  using right = treiber_stack<true>;
  auto chosen = loud("counted stack");
  EXPECT_TRUE(explore<right>(
      chosen,
      {{"popper", &right::popper}, {"shuffler", &right::shuffler}, {"popper 2", &right::popper}}));
  using broken = treiber_stack<false>;
  const auto found = explore<broken>(quiet("stack"), {{"popper", &broken::popper},
                                                      {"shuffler", &broken::shuffler},
                                                      {"popper 2", &broken::popper}});
  EXPECT_EQ(found.message, "popped twice");
  std::printf("%s", found.report.c_str());  // what a failure looks like
}

// ---- the search itself ------------------------------------------------------------------------

struct independent {
  std::array<atomic<int>, 2> own;
  void run() {
    auto& mine = own[static_cast<std::size_t>(this_thread())];
    for (int i = 0; i < 4; ++i) mine.fetch_add(1);
  }
};

TEST(explorer, the_number_of_schedules_is_the_one_of_combinatorics) {
  // Two threads of four steps each. Without preemption: two orders. One preemption: the first is
  // left after one to three steps, and the second runs to its end: 2 * 3 more.
  auto chosen = quiet("independent");
  const auto count = [&](int preemptions) {
    chosen.preemptions = preemptions;
    return explore<independent>(chosen, {{"a", &independent::run}, {"b", &independent::run}})
        .executions;
  };
  EXPECT_EQ(count(0), 2u);
  EXPECT_EQ(count(1), 2u + 2 * 3);
  EXPECT_EQ(count(2), 2u + 2 * 3 + 2 * 3 * 3);
  EXPECT_EQ(count(100), 70u);  // all of 8 over 4
}

struct choosing {
  void run() {
    static constexpr std::array<const char*, 3> names{"zero", "one", "two"};
    outcome(names[static_cast<std::size_t>(choose(3))]);
  }
};

TEST(explorer, choose_takes_every_alternative) {
  const auto found = explore<choosing>(quiet("choosing"), {{"run", &choosing::run}});
  EXPECT_EQ(found.executions, 3u);
  EXPECT_EQ(found.count("zero") + found.count("one") + found.count("two"), 3u);
}

struct increments {
  atomic<int> count{0};
  void run() {
    for (int i = 0; i < 3; ++i) count.store(count.load() + 1);
  }
  void check() {
    static constexpr std::array<const char*, 7> names{"0", "1", "2", "3", "4", "5", "6"};
    outcome(names[static_cast<std::size_t>(count.load())]);
  }
};

result increment(const options& chosen) {
  return explore<increments>(chosen, {{"a", &increments::run}, {"b", &increments::run}},
                             &increments::check);
}

TEST(explorer, random_schedules_follow_their_seed) {
  options chosen{.name = "random", .random_executions = 1000, .quiet = true};
  const auto first = increment(chosen).outcomes;
  EXPECT_EQ(first, increment(chosen).outcomes);
  EXPECT_GE(first.size(), 4u);  // of 2 to 6, the ends being rare
  chosen.seed = 2;
  EXPECT_NE(first, increment(chosen).outcomes);
}

TEST(explorer, a_bound_on_executions_is_reported_as_incomplete) {
  const auto found = increment({.name = "bounded", .max_executions = 3, .quiet = true});
  EXPECT_EQ(found.executions, 3u);
  EXPECT_FALSE(found.complete);
}

}  // namespace
