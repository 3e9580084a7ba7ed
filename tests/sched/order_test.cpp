// In which order fibers that are ready run: first come first served, until so many are ready that
// their stacks matter.
#include <coir/sync/channel.hpp>
#include <coir/sync/event.hpp>

#include <numeric>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

auto one_worker() {
  return ::testing::ValuesIn(
      settings({1}, {drivers::futex, drivers::fake_home, drivers::fake_roaming}));
}

class order_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, order_test, one_worker(), name_of);

class tree_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, tree_test, worker_counts(), name_of);

TEST_P(order_test, a_few_fibers_start_in_the_order_of_their_spawns) {
  constexpr int many = 200;
  std::vector<int> order;
  on_fiber([&] {
    std::vector<task<void>> all;
    for (int i = 0; i < many; ++i) all.push_back(spawn([&, i] { order.push_back(i); }));
    this_fiber::yield();
  });
  std::vector<int> expected(many);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

struct tree {
  std::atomic<int> live{0}, most{0};

  // Ten children a node, which are not joined: each sends its sum to its parent.
  void grow(channel<int>& to, int leaves) {
    const int now = ++live;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {}
    if (leaves == 1) {
      to.push(1);
    } else {
      channel<int> sums;
      for (int i = 0; i < 10; ++i)
        spawn([this, &sums, leaves] { grow(sums, leaves / 10); }).detach();
      int sum = 0;
      for (int i = 0; i < 10; ++i) sum += sums.pop().value();
      to.push(sum);
    }
    --live;
  }
};

TEST_P(tree_test, a_wide_tree_of_fibers_needs_few_stacks_at_once) {
  constexpr int leaves = 100'000, inner = leaves / 9;
  tree t;
  on_fiber([&] {
    channel<int> sum;
    auto root = spawn([&] { t.grow(sum, leaves); });
    EXPECT_EQ(sum.pop(), leaves);
  });
  std::printf("%d of %d inner fibers lived at once at most\n", t.most.load(), inner);
  // On several workers it is the thieves' luck how wide it grows.
  if (GetParam().workers == 1) {
    EXPECT_LT(t.most, inner / 4);
  }
}

TEST_P(order_test, those_who_have_waited_longest_run_however_many_children_are_spawned) {
  constexpr int waiting = 1000;
  int ran = 0, children = 0;
  on_fiber([&] {
    event go;
    std::vector<task<void>> all;
    for (int i = 0; i < waiting; ++i)
      all.push_back(spawn([&] {
        go.wait();
        ++ran;
      }));
    while (all.back().state() != task_state::parked) this_fiber::yield();
    go.set();  // all are ready now, behind this one
    while (ran < waiting && children <= 61 * waiting) {
      channel<int> answer;
      spawn([&] {
        ++children;
        answer.push(1);
      }).detach();
      answer.pop();
    }
    EXPECT_EQ(ran, waiting) << "after " << children << " children, at 61 switches a turn";
  });
}

}  // namespace
}  // namespace coir::testing
