// The inbox, one step at a time, and against a sequential model.
#include "sched/inbox.hpp"

#include <gtest/gtest.h>
#include <deque>
#include <vector>

#include "stress.hpp"

namespace {

using namespace coir::sched;

struct node {
  node* next = nullptr;
  int name = 0;
};
using inbox = basic_inbox<node, &node::next>;

TEST(inbox_test, gives_everything_at_once_and_oldest_first) {
  inbox box;
  node nodes[3];
  EXPECT_TRUE(box.empty());
  EXPECT_EQ(box.take(), nullptr);
  EXPECT_TRUE(box.push(nodes[0])) << "the first push of a batch says so";
  EXPECT_FALSE(box.push(nodes[1]));
  EXPECT_FALSE(box.push(nodes[2]));
  EXPECT_FALSE(box.empty());
  node* list = box.take();
  for (node& each : nodes) {
    ASSERT_EQ(list, &each);
    list = list->next;
  }
  EXPECT_EQ(list, nullptr);
  EXPECT_TRUE(box.empty());
  EXPECT_EQ(box.take(), nullptr);
}

TEST(inbox_test, a_node_may_be_pushed_again_once_it_is_taken) {
  inbox box;
  node only;
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(box.push(only));
    EXPECT_EQ(box.take(), &only);
    EXPECT_EQ(only.next, nullptr);
  }
}

TEST(inbox_test, random_calls_agree_with_a_sequential_model) {
  inbox box;
  std::vector<node> nodes(16);
  std::deque<node*> unused, expected;
  for (node& each : nodes) unused.push_back(&each);
  stress::random_source random(1);
  for (int step = 0; step < 100'000; ++step) {
    ASSERT_EQ(box.empty(), expected.empty());
    if (random.below(5) != 0) {
      if (unused.empty()) continue;
      node* pushed = unused.front();
      unused.pop_front();
      ASSERT_EQ(box.push(*pushed), expected.empty());
      expected.push_back(pushed);
      continue;
    }
    for (node* list = box.take(); list != nullptr || !expected.empty();) {
      ASSERT_FALSE(expected.empty());
      ASSERT_EQ(list, expected.front());
      list = list->next;
      unused.push_back(expected.front());
      expected.pop_front();
    }
  }
}

}  // namespace
