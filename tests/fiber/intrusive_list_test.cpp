#include <gtest/gtest.h>
#include <coir/fiber/intrusive_list.hpp>

#include <list>
#include <random>
#include <vector>

namespace coir::fiber {
namespace {

struct by_age : intrusive_hook {};
struct by_name : intrusive_hook {};
struct item : intrusive_hook {
  explicit item(int n) : number(n) {}
  int number;
};
struct in_two_lists : by_name, by_age {
  int number = 0;
};
using items = intrusive_list<item>;

std::vector<int> numbers(items& of) {
  std::vector<int> out;
  for (item& i : of) out.push_back(i.number);
  return out;
}

TEST(intrusive_list, keeps_the_order_of_its_ends) {
  item a(1), b(2), c(3);
  items l;
  EXPECT_TRUE(l.empty());
  EXPECT_EQ(l.front(), nullptr);
  EXPECT_EQ(l.pop_front(), nullptr);
  EXPECT_EQ(l.pop_back(), nullptr);
  l.push_back(b);
  l.push_back(c);
  l.push_front(a);
  EXPECT_EQ(numbers(l), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(l.front(), &a);
  EXPECT_EQ(l.back(), &c);
  EXPECT_EQ(l.after(a), &b);
  EXPECT_EQ(l.after(c), nullptr);
  EXPECT_EQ(l.pop_front(), &a);
  EXPECT_EQ(l.pop_back(), &c);
  EXPECT_EQ(l.count(), 1U);
}

TEST(intrusive_list, a_member_knows_whether_it_is_linked) {
  item a(1);
  items l;
  EXPECT_FALSE(a.linked());
  l.push_back(a);
  EXPECT_TRUE(a.linked()) << "the only member, too";
  items::erase(a);
  EXPECT_FALSE(a.linked());
  EXPECT_TRUE(l.empty());
  const item copy = a;
  EXPECT_FALSE(copy.linked());
}

TEST(intrusive_list, append_and_prepend_move_every_member) {
  item a(1), b(2), c(3), d(4);
  items one, two, none;
  one.push_back(a);
  one.push_back(b);
  two.push_back(c);
  two.push_back(d);
  one.append(two);
  EXPECT_TRUE(two.empty());
  EXPECT_EQ(numbers(one), (std::vector<int>{1, 2, 3, 4}));
  one.append(none);
  none.append(one);
  EXPECT_EQ(numbers(none), (std::vector<int>{1, 2, 3, 4}));
  item e(5);
  two.push_back(e);
  none.prepend(two);
  EXPECT_EQ(numbers(none), (std::vector<int>{5, 1, 2, 3, 4}));
  items moved(std::move(none));
  EXPECT_EQ(moved.count(), 5U);
}

TEST(intrusive_list, inserts_before_a_member) {
  item a(1), b(2), c(3);
  items l;
  l.push_back(c);
  l.insert_before(c, a);
  l.insert_before(c, b);
  EXPECT_EQ(numbers(l), (std::vector<int>{1, 2, 3}));
}

TEST(intrusive_list, a_member_with_two_hooks_is_in_two_lists) {
  in_two_lists a, b;
  a.number = 1;
  intrusive_list<in_two_lists, by_age> ages;
  intrusive_list<in_two_lists, by_name> names;
  ages.push_back(a);
  ages.push_front(b);
  names.push_back(a);
  names.push_back(b);
  EXPECT_EQ(names.pop_back(), &b);
  EXPECT_EQ(names.pop_back(), &a);
  EXPECT_EQ(ages.pop_back(), &a);
  EXPECT_EQ(ages.pop_back(), &b);
}

TEST(intrusive_list, agrees_with_std_list_at_random) {
  std::mt19937 random(7);
  std::vector<item> pool;
  for (int i = 0; i < 32; ++i) pool.emplace_back(i);
  items real;
  std::list<int> model;
  for (int step = 0; step < 50'000; ++step) {
    item& i = pool[random() % pool.size()];
    if (i.linked()) {
      items::erase(i);
      model.remove(i.number);
    } else if (random() % 2 == 0) {
      real.push_back(i);
      model.push_back(i.number);
    } else {
      real.push_front(i);
      model.push_front(i.number);
    }
    if (step % 64 == 0) {
      ASSERT_EQ(numbers(real), std::vector<int>(model.begin(), model.end()));
    }
  }
  for (item& i : pool)
    if (i.linked()) items::erase(i);
  EXPECT_TRUE(real.empty());
}

}  // namespace
}  // namespace coir::fiber
