// Brute force on the inbox: three pushers, and an owner that takes, or sleeps until a push rings.
#include "sched/inbox.hpp"

#include <gtest/gtest.h>
#include <array>
#include <thread>
#include <vector>

#include "stress.hpp"

namespace {

using namespace coir::sched;

constexpr std::size_t pushers = 3, nodes_each = 8;

struct node {
  node* next = nullptr;
  std::size_t pusher = 0;
  std::uint64_t letter = 0;  // plain: the inbox hands it over
  std::atomic<bool> free{true};
};

struct shared_box {
  basic_inbox<node, &node::next> box;
  std::atomic<bool> asleep{false};
  stress::doorbell doorbell;
  std::array<std::array<node, nodes_each>, pushers> nodes;
};

void push_often(shared_box& shared, std::size_t me, std::atomic<bool>& over,
                std::uint64_t& pushed) {
  stress::random_source random(me + 1);
  while (!over.load(std::memory_order_relaxed)) {
    node& mine = shared.nodes[me][pushed % nodes_each];
    const auto may_go_on = [&] { return mine.free.load(std::memory_order_acquire) || over; };
    if (!stress::eventually(may_go_on) || !mine.free) break;
    mine.free.store(false, std::memory_order_relaxed);
    mine.pusher = me;
    mine.letter = ++pushed;
    shared.box.push(mine);
    if (shared.asleep.exchange(false, std::memory_order_relaxed)) shared.doorbell.signal();
    random.dawdle(random.below(8) == 0 ? 3000 : 30);
  }
}

TEST(inbox_stress, nothing_is_lost_and_no_push_lets_the_owner_sleep) {
  shared_box shared;
  std::atomic<bool> over{false};
  std::array<std::uint64_t, pushers> pushed{}, received{};
  std::vector<std::thread> threads;
  for (std::size_t who = 0; who < pushers; ++who)
    threads.emplace_back(push_often, std::ref(shared), who, std::ref(over), std::ref(pushed[who]));

  std::uint64_t one = 0, several = 0, slept = 0, second_look = 0, wrong = 0;
  const auto take = [&] {
    std::uint64_t at_once = 0;
    for (node* oldest = shared.box.take(); oldest != nullptr; ++at_once) {
      node& mine = *oldest;
      oldest = mine.next;
      wrong += mine.letter != ++received[mine.pusher];
      mine.free.store(true, std::memory_order_release);
    }
    one += at_once == 1;
    several += at_once > 1;
    return at_once != 0;
  };
  stress::random_source random(99);
  const stress::race_clock clock(1);
  while (clock.goes_on({one, several, slept, second_look})) {
    for (int looks = 0; looks < 4; ++looks) take();
    random.give_way(4);  // a push in here is seen at the second look
    shared.asleep.store(true, std::memory_order_relaxed);
    std_atomics::fence();
    if (shared.box.empty()) {
      if (!shared.doorbell.wait()) {
        ADD_FAILURE() << "a push has not woken the owner";
        break;
      }
      ++slept;
    } else {
      ++second_look;
    }
    shared.asleep.store(false, std::memory_order_relaxed);
  }
  over = true;
  // Who waits for a node of its own is let go.
  EXPECT_TRUE(stress::eventually([&] { return take(), shared.box.empty(); }));
  for (auto& thread : threads) thread.join();
  take();

  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(received, pushed);
  stress::each_happens("inbox", {{"one at a time", one},
                                 {"several at once", several},
                                 {"slept", slept},
                                 {"seen at the second look", second_look}});
}

}  // namespace
