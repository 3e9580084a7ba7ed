// F2: whatever allocation of a channel or a queue fails, the call throws std::bad_alloc and has
// done nothing.
#include <coir/sync/broadcast.hpp>
#include <coir/sync/select.hpp>
#include <coir/sync/watch.hpp>
#include <coir/sync/work_queue.hpp>

#include <functional>
#include <string>

#include "payloads.hpp"
#include "refusing_memory.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

// Calls f with the k-th allocation refused, for every k, until it gets by; unchanged() after each
// refusal. How many were refused.
int refuse_each(const std::function<void()>& f, const std::function<void()>& unchanged) {
  static_cast<void>(sched::current_host());  // a thread's first wait makes it
  for (int k = 0;; ++k) {
    allow(k);
    bool threw = false;
    try {
      f();
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    const bool was_refused = refusals() != 0;
    allow(-1);
    EXPECT_EQ(threw, was_refused);
    if (!was_refused) return k;
    unchanged();
  }
}

TEST(channel_memory_test, constructors_leave_nothing_behind) {
  EXPECT_GT(refuse_each([] { channel<heavy> ch(8); }, [] {}), 0);
  EXPECT_EQ(refuse_each([] { channel<heavy> ch; }, [] {}), 0) << "without a buffer, no allocation";
  EXPECT_GT(refuse_each([] { broadcast<heavy> b(8); }, [] {}), 0);
  EXPECT_GT(refuse_each([] { watch<heavy> w(heavy(1)); }, [] {}), 0);
  refuse_each([] { work_queue<heavy> q(8); }, [] {});
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST(channel_memory_test, pushes_and_pops_of_a_channel_allocate_nothing) {
  channel<heavy> ch(2), other;
  EXPECT_EQ(refuse_each(
                [&] {
                  ch.push(1);
                  EXPECT_TRUE(ch.try_push(2));
                  EXPECT_FALSE(ch.push_for(3, 1us));
                  ch.pop();
                  ch.try_pop();
                  EXPECT_EQ(ch.pop_for(1us), std::nullopt);
                  select(on_pop(ch, [](auto&&) {}), on_pop(other, [](auto&&) {}),
                         on_timeout(1us, [] {}));
                },
                [] {}),
            0);
}

template <class Order>
void check_work_queue() {
  work_queue<heavy, Order> q;
  for (int n = 0; n < 200; ++n) {
    heavy item(n);
    refuse_each([&] { q.try_put(std::move(item)); },
                [&] {
                  EXPECT_EQ(static_cast<int>(item), n) << "it stays with its owner";
                  EXPECT_EQ(q.size(), static_cast<std::size_t>(n));
                });
  }
  EXPECT_EQ(refuse_each(
                [&] {
                  for (int n = 0; n < 200; ++n) {
                    q.get();
                    q.task_done();
                  }
                },
                [] {}),
            0)
      << "a get allocates nothing";
  q.join();
}

TEST(channel_memory_test, a_put_that_finds_no_memory_leaves_the_item_and_the_queue) {
  check_work_queue<fifo>();
  check_work_queue<lifo>();
  check_work_queue<by<std::less<>>>();
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST(channel_memory_test, a_waiting_put_that_finds_no_memory_is_told_and_the_next_is_served) {
  make_runtime(1)->block_on([] {
    work_queue<heavy, by<std::less<>>> q(1);
    q.put(1);
    heavy item(2), other(3);
    auto first = spawn([&] { q.put_for(std::move(item), 1h); });
    auto second = spawn([&] { q.put_for(std::move(other), 1h); });
    wait_until_parked(first);
    wait_until_parked(second);
    allow(0);
    std::optional<heavy> got = q.try_get();  // stores the first's item in its stead
    const bool was_refused = refusals() != 0;
    allow(-1);
    EXPECT_TRUE(was_refused);
    EXPECT_EQ(static_cast<int>(*got), 1);
    EXPECT_THROW(first.get(), std::bad_alloc);
    EXPECT_EQ(static_cast<int>(item), 2);
    EXPECT_THROW(second.get(), std::bad_alloc) << "it was refused as well";
    EXPECT_EQ(q.size(), 0U);
    q.put(4);
    EXPECT_FALSE(q.try_put(5)) << "one place, as before";
    q.get();
  });
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

TEST(channel_memory_test, what_cannot_be_broadcast_or_set_has_not_been) {
  broadcast<heavy> b(4);
  auto receiver = b.subscribe();
  EXPECT_GT(refuse_each([&] { b.push(7); }, [&] { EXPECT_EQ(receiver.try_pop(), std::nullopt); }),
            0);
  EXPECT_EQ(receiver.pop(), heavy(7));
  watch<heavy> w(heavy(1));
  auto sees = w.subscribe();
  EXPECT_GT(refuse_each([&] { w.set(2); }, [&] { EXPECT_FALSE(sees.changed_for(0ms)); }), 0);
  EXPECT_TRUE(sees.changed());
}

// The one allocation that a wait may need: room in the worker's heap of deadlines.
TEST(channel_memory_test, a_wait_whose_deadline_finds_no_memory_waits_for_nothing) {
  int refused_waits = 0;
  make_runtime(1)->block_on([&] {
    channel<heavy> in, out;
    std::vector<task<int>> waiting;
    for (int i = 0; i < 500; ++i) {
      waiting.push_back(spawn([&, i] {
        heavy item(i);
        allow(0);
        try {
          if (i % 3 == 0) return static_cast<int>(*in.pop_for(1h));
          if (i % 3 == 1)
            return select(on_pop(in, [](auto&&) {}), on_timeout(1h, [] {})) == 0 ? 1 : 0;
          return out.push_for(std::move(item), 1h) ? 1 : 0;
        } catch (const std::bad_alloc&) {
          allow(-1);
          EXPECT_EQ(static_cast<int>(item), i);
          return -1;
        }
      }));
      while (waiting.back().state() == task_state::ready) this_fiber::yield();
      allow(-1);
    }
    for (auto& t : waiting) {
      if (t.done()) continue;
      EXPECT_TRUE(in.try_push(heavy(1)) || out.try_pop().has_value());
    }
    for (auto& t : waiting) refused_waits += t.get() == -1;
    EXPECT_FALSE(in.try_push(heavy(1))) << "who was refused waits for nothing";
    EXPECT_EQ(out.try_pop(), std::nullopt);
  });
  EXPECT_GT(refused_waits, 0);
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

}  // namespace
}  // namespace coir::testing
