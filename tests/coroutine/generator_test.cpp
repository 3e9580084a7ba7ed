// A generator as a range.
#include <algorithm>
#include <array>
#include <iterator>
#include <list>
#include <memory>
#include <numeric>
#include <ranges>
#include <stdexcept>
#include <string>
#include <vector>

#include "coroutine_fixture.hpp"

namespace coir::testing {
namespace {

static_assert(std::ranges::input_range<generator<int>>);
static_assert(std::ranges::view<generator<int>>);
static_assert(std::movable<generator<int>> && !std::copyable<generator<int>>);
static_assert(std::input_iterator<generator<std::unique_ptr<int>>::iterator>);
static_assert(std::is_same_v<std::ranges::range_reference_t<generator<int&>>, int&>);
static_assert(
    std::is_same_v<std::ranges::range_value_t<generator<const std::string&>>, std::string>);

class generator_test : public anywhere_test {};
INSTANTIATE_TEST_SUITE_P(, generator_test, worker_counts(), name_of);

std::vector<int> all_of(generator<int> g) {
  std::vector<int> all;
  for (int v : g) all.push_back(v);
  return all;
}

generator<int> count_to(int n) {
  return generator<int>([n](auto& yield) {
    for (int i = 1; i <= n; ++i) yield(i);
  });
}

TEST_P(generator_test, a_loop_over_it_runs_the_body) {
  anywhere([] {
    EXPECT_EQ(all_of(count_to(5)), (std::vector{1, 2, 3, 4, 5}));
    EXPECT_EQ(all_of(count_to(0)), std::vector<int>{});
    EXPECT_EQ(all_of(generator<int>()), std::vector<int>{});
  });
}

TEST_P(generator_test, it_runs_no_further_than_it_is_asked) {
  anywhere([] {
    int produced = 0;
    generator<int> g([&](auto& yield) {
      for (;;) yield(++produced);
    });
    EXPECT_EQ(produced, 0);
    for (int v : g)
      if (v == 3) break;
    EXPECT_EQ(produced, 3);
    int first = 0;
    for (int v : g) {  // goes on where the last loop stood
      first = v;
      break;
    }
    EXPECT_EQ(first, 3);
  });
}

// clang before 16 cannot compile libstdc++'s views, over whatever range.
#if !defined(__clang__) || __clang_major__ >= 16
TEST_P(generator_test, it_works_with_views) {
  anywhere([] {
    auto naturals = generator<int>([](auto& yield) {
      for (int i = 0;; ++i) yield(i);
    });
    auto some = std::move(naturals) | std::views::filter([](int v) { return v % 2 == 1; }) |
                std::views::transform([](int v) { return v * v; }) | std::views::take(3);
    std::vector<int> seen;
    std::ranges::copy(some, std::back_inserter(seen));
    EXPECT_EQ(seen, (std::vector{1, 9, 25}));
  });
}
#endif

TEST_P(generator_test, it_works_with_algorithms) {
  anywhere([] {
    generator<int> ten = count_to(10);
    EXPECT_EQ(std::ranges::count_if(ten, [](int v) { return v > 7; }), 3);
    generator<int> found = count_to(10);
    EXPECT_EQ(*std::ranges::find(found, 4), 4);
  });
}

TEST_P(generator_test, from_yields_each_element_of_a_range) {
  anywhere([] {
    const std::list<int> list{4, 5};
    EXPECT_EQ(all_of(generator<int>([&](auto& yield) {
                yield.from(std::vector{1, 2});
                yield(3);
                yield.from(list);
                yield.from(count_to(2));
                yield.from(std::array{7, 8});
                yield.from(std::vector<int>{});
              })),
              (std::vector{1, 2, 3, 4, 5, 1, 2, 7, 8}));
  });
}

struct node {
  int value;
  std::unique_ptr<node> left, right;
};
void walk(const node* n, generator<int>::yield_type& yield) {
  if (n == nullptr) return;
  walk(n->left.get(), yield);
  yield(n->value);
  walk(n->right.get(), yield);
}
std::unique_ptr<node> tree(int low, int high) {
  if (low > high) return nullptr;
  const int middle = (low + high) / 2;
  return std::unique_ptr<node>(new node{middle, tree(low, middle - 1), tree(middle + 1, high)});
}

TEST_P(generator_test, it_yields_from_any_depth_of_a_recursion) {
  anywhere([] {
    const auto root = tree(1, 1000);
    std::vector<int> expected(1000);
    std::iota(expected.begin(), expected.end(), 1);
    EXPECT_EQ(all_of(generator<int>([&](auto& yield) { walk(root.get(), yield); })), expected);
  });
}

TEST_P(generator_test, generators_nest) {
  struct tool {
    static generator<int> down(int n) {
      return generator<int>([n](auto& yield) {
        yield(n);
        if (n > 0) yield.from(down(n - 1));
      });
    }
  };
  anywhere([] {
    std::vector<int> expected(51);
    std::iota(expected.rbegin(), expected.rend(), 0);
    EXPECT_EQ(all_of(tool::down(50)), expected);
  });
}

TEST_P(generator_test, elements_may_be_move_only_or_references) {
  anywhere([] {
    generator<std::unique_ptr<int>> boxes([](auto& yield) {
      yield(std::make_unique<int>(1));
      auto two = std::make_unique<int>(2);
      yield(std::move(two));
    });
    int sum = 0;
    for (std::unique_ptr<int> b : boxes) sum += *b;
    EXPECT_EQ(sum, 3);

    std::vector<int> numbers{1, 2, 3};
    for (int& n : generator<int&>([&](auto& yield) {
           for (int& n : numbers) yield(n);
         }))
      n *= 10;
    EXPECT_EQ(numbers, (std::vector{10, 20, 30}));

    const std::vector<std::string> words{"a", "b"};
    std::vector<const std::string*> seen;
    for (const std::string& w :
         generator<const std::string&>([&](auto& yield) { yield.from(words); }))
      seen.push_back(&w);
    EXPECT_EQ(seen, (std::vector{&words[0], &words[1]}));
  });
}

TEST_P(generator_test, what_leaves_the_body_is_thrown_where_the_loop_stands_and_it_is_over) {
  anywhere([] {
    std::vector<int> seen;
    generator<int> g([](auto& yield) {
      yield(1);
      throw std::runtime_error("over");
    });
    try {
      for (int v : g) seen.push_back(v);
      ADD_FAILURE();
    } catch (const std::runtime_error&) {}
    EXPECT_EQ(seen, std::vector{1});
    EXPECT_TRUE(g.begin() == g.end());
    generator<int> at_once([](auto&) { throw 1; });
    EXPECT_THROW(static_cast<void>(at_once.begin()), int);
  });
}

TEST_P(generator_test, one_that_is_left_in_the_middle_is_unwound) {
  anywhere([] {
    int alive = 0;
    for (int round = 0; round < 3; ++round) {
      generator<int> g([&](auto& yield) {
        counted c(alive);
        yield(1);
        yield(2);
      });
      for (int v : g) {
        EXPECT_EQ(v, 1);
        EXPECT_EQ(alive, 1);
        break;
      }
      if (round == 1) {
        const generator<int> moved = std::move(g);
        EXPECT_TRUE(g.begin() == g.end());  // NOLINT: moved-from is empty
      }
      if (round == 2) {
        g = count_to(1);
        EXPECT_EQ(alive, 0);
      }
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(generator_test, a_body_may_iterate_another_thats_body_resumes_a_coroutine) {
  anywhere([] {
    coroutine<int(int)> doubles([](auto& yield, int n) {
      for (;;) n = yield(2 * n);
    });
    generator<int> doubled([&](auto& yield) {
      for (int v : count_to(3)) yield(*doubles.resume(v));
    });
    EXPECT_EQ(all_of(std::move(doubled)), (std::vector{2, 4, 6}));
  });
}

}  // namespace
}  // namespace coir::testing
