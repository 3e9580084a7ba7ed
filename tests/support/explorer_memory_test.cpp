// The explorer's memory has the known answers to the litmus tests, and its race detection too.
#include "explorer.hpp"

#include <gtest/gtest.h>

namespace {

using namespace coir::explorer;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;
constexpr auto seq_cst = std::memory_order_seq_cst;

void no_fence() {}
void full_fence() { explorer_atomics::fence(); }
void light_fence() { explorer_atomics::light_fence(); }
void heavy_fence() { explorer_atomics::heavy_fence(); }

options quiet(const char* name) { return {.name = name, .quiet = true}; }
options loud(const char* name) { return {.name = name}; }

// ---- store buffering --------------------------------------------------------------------------

template <void (*left_fence)(), void (*right_fence)()>
struct store_buffering {
  atomic<int> x{0}, y{0};
  int left_saw = -1, right_saw = -1;

  void left() {
    x.store(1, relaxed);
    left_fence();
    left_saw = y.load(relaxed);
  }
  void right() {
    y.store(1, relaxed);
    right_fence();
    right_saw = x.load(relaxed);
  }
  void check() {
    if (left_saw == 0 && right_saw == 0) outcome("both zero");
    if (left_saw == 1 && right_saw == 0) outcome("right first");
    if (left_saw == 0 && right_saw == 1) outcome("left first");
    if (left_saw == 1 && right_saw == 1) outcome("both one");
  }
};

template <void (*left_fence)(), void (*right_fence)()>
result store_buffers(options chosen) {
  using model = store_buffering<left_fence, right_fence>;
  return explore<model>(chosen, {{"left", &model::left}, {"right", &model::right}}, &model::check);
}

TEST(explorer_memory, store_buffers_show_without_fences) {
  const auto found = store_buffers<no_fence, no_fence>(loud("store buffers, no fence"));
  EXPECT_TRUE(found.ok);
  EXPECT_TRUE(found.complete);
  for (const char* each : {"both zero", "left first", "right first", "both one"})
    EXPECT_GT(found.count(each), 0u) << each;
}

TEST(explorer_memory, full_fences_empty_the_store_buffers) {
  const auto found = store_buffers<full_fence, full_fence>(loud("store buffers, full fences"));
  EXPECT_EQ(found.count("both zero"), 0u);
  EXPECT_GT(found.count("both one"), 0u);
  const auto one_sided = store_buffers<full_fence, no_fence>(quiet("one fence"));
  EXPECT_GT(one_sided.count("both zero"), 0u);
}

TEST(explorer_memory, a_heavy_fence_serves_for_the_light_side_too) {
  const auto found =
      store_buffers<light_fence, heavy_fence>(loud("store buffers, light and heavy fence"));
  EXPECT_EQ(found.count("both zero"), 0u);
  EXPECT_GT(found.count("left first"), 0u);
  EXPECT_GT(found.count("right first"), 0u);
}

TEST(explorer_memory, two_light_fences_are_enough_only_where_they_are_full) {
  auto chosen = quiet("light fences");
  EXPECT_GT((store_buffers<light_fence, light_fence>(chosen).count("both zero")), 0u);
  chosen.light = light_fence_is::full_fence;
  EXPECT_EQ((store_buffers<light_fence, light_fence>(chosen).count("both zero")), 0u);
}

struct seq_cst_stores {
  atomic<int> x{0}, y{0};
  int left_saw = -1, right_saw = -1;
  void left() { x.store(1), left_saw = y.load(); }
  void right() { y.store(1), right_saw = x.load(); }
  void check() { expect(left_saw + right_saw > 0, "both zero"); }
};

TEST(explorer_memory, seq_cst_stores_come_before_later_seq_cst_loads) {
  for (auto model : {memory::tso, memory::weak})
    EXPECT_TRUE(explore<seq_cst_stores>(
        {.name = "seq_cst stores", .model = model},
        {{"left", &seq_cst_stores::left}, {"right", &seq_cst_stores::right}},
        &seq_cst_stores::check));
}

template <std::memory_order announce, std::memory_order look>
struct exchange_then_load {  // as a pusher who announces by a read-modify-write
  atomic<int> x{0}, y{0};
  int left_saw = -1, right_saw = -1;
  void left() { x.exchange(1, announce), left_saw = y.load(look); }
  void right() { y.exchange(1, announce), right_saw = x.load(look); }
  void check() { expect(left_saw + right_saw > 0, "both zero"); }
};

template <std::memory_order announce, std::memory_order look>
bool exchange_orders_the_load(memory model) {
  using state = exchange_then_load<announce, look>;
  return explore<state>({.name = "exchange then load", .model = model, .quiet = true},
                        {{"left", &state::left}, {"right", &state::right}}, &state::check)
      .ok;
}

TEST(explorer_memory, a_read_modify_write_is_a_fence_on_x86_alone) {
  EXPECT_TRUE((exchange_orders_the_load<acq_rel, acquire>(memory::tso)));
  EXPECT_FALSE((exchange_orders_the_load<acq_rel, acquire>(memory::weak)));
  EXPECT_FALSE((exchange_orders_the_load<seq_cst, relaxed>(memory::weak)));
  EXPECT_FALSE((exchange_orders_the_load<acq_rel, seq_cst>(memory::weak)));
  EXPECT_TRUE((exchange_orders_the_load<seq_cst, seq_cst>(memory::weak)));
}

struct delayed_counter {  // delayed writes of read-modify-writes stay atomic
  atomic<int> count{0}, other{0};
  void add() {
    count.fetch_add(1, relaxed);
    other.load(relaxed);
    count.fetch_add(1, relaxed);
    other.store(1, relaxed);
  }
  void check() { expect(count.load() == 6, "an increment is lost"); }
};

TEST(explorer_memory, delayed_read_modify_writes_lose_nothing) {
  using model = delayed_counter;
  auto chosen = loud("delayed counter");
  chosen.model = memory::weak;
  EXPECT_TRUE(explore<model>(chosen, {{"a", &model::add}, {"b", &model::add}, {"c", &model::add}},
                             &model::check));
}

// ---- message passing, races -------------------------------------------------------------------

template <std::memory_order publish, std::memory_order look>
struct message_passing {
  explored<int> message;
  atomic<int> flag{0};
  void sender() {
    message = 42;
    flag.store(1, publish);
  }
  void receiver() {
    if (flag.load(look) == 0) return outcome("too early");
    expect(message == 42, "the flag came before the message");
    outcome("received");
  }
};

template <std::memory_order publish, std::memory_order look>
result pass_message(const options& chosen) {
  using model = message_passing<publish, look>;
  return explore<model>(chosen, {{"sender", &model::sender}, {"receiver", &model::receiver}});
}

TEST(explorer_memory, message_passing_needs_release_and_acquire) {
  const auto right = pass_message<release, acquire>(loud("message passing"));
  EXPECT_TRUE(right);
  EXPECT_GT(right.count("received"), 0u);
  EXPECT_GT(right.count("too early"), 0u);
  const auto no_release = pass_message<relaxed, acquire>(quiet("relaxed store"));
  EXPECT_NE(no_release.message.find("data race: read by receiver"), std::string::npos)
      << no_release.message;
  const auto no_acquire = pass_message<release, relaxed>(quiet("relaxed load"));
  EXPECT_NE(no_acquire.message.find("data race"), std::string::npos) << no_acquire.message;
}

struct fenced_message {
  explored<int> message;
  atomic<int> flag{0};
  void sender() {
    message = 42;
    explorer_atomics::fence();
    flag.store(1, relaxed);
  }
  void receiver() {
    if (flag.load(relaxed) == 0) return;
    explorer_atomics::fence();
    expect(message == 42, "the flag came before the message");
  }
};

TEST(explorer_memory, fences_order_relaxed_accesses) {
  using model = fenced_message;
  EXPECT_TRUE(explore<model>(quiet("fenced message"),
                             {{"sender", &model::sender}, {"receiver", &model::receiver}}));
}

struct release_sequence {
  explored<int> message;
  atomic<int> flag{0};
  void sender() {
    message = 42;
    flag.store(1, release);
  }
  void adder() { flag.fetch_add(1, relaxed); }
  void receiver() {
    if (flag.load(acquire) == 2) expect(message == 42, "the flag came before the message");
  }
};

TEST(explorer_memory, a_read_modify_write_continues_the_release_sequence) {
  using model = release_sequence;
  EXPECT_TRUE(explore<model>(
      quiet("release sequence"),
      {{"sender", &model::sender}, {"adder", &model::adder}, {"receiver", &model::receiver}}));
}

struct unsynchronised {
  explored<int> data;
  void write() { data = data + 1; }
};

TEST(explorer_memory, an_unsynchronised_write_is_a_race_in_every_schedule) {
  const auto found = explore<unsynchronised>(
      quiet("race"), {{"a", &unsynchronised::write}, {"b", &unsynchronised::write}});
  EXPECT_FALSE(found);
  EXPECT_EQ(found.executions, 1u);
}

}  // namespace
