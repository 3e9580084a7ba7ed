// What a task takes and gives: arguments as std::thread's, results of every kind, functions of
// every size.
#include <coir/sched/big_stack.hpp>
#include <coir/sched/gather.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sched/task_group.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/async.hpp>
#include <coir/sync/offload_async.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class task_values : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, task_values, every_setting(), name_of);

struct counted {
  static inline std::atomic<int> alive{0};
  int value = 0;
  explicit counted(int v) : value(v) { ++alive; }
  counted(const counted& other) : value(other.value) { ++alive; }
  counted(counted&& other) noexcept : value(std::exchange(other.value, -1)) { ++alive; }
  counted& operator=(const counted&) = default;
  ~counted() { --alive; }
  int times(int n) const { return value * n; }
};

TEST_P(task_values, arguments_are_decayed_copied_and_moved_as_stds_threads_are) {
  on_fiber([] {
    int seen = 0;
    spawn([](int a, std::string b, const char* c,
             int& d) { d = a + int(b.size()) + int(c[0] == 'x'); },
          1, std::string("four"), "x", std::ref(seen))
        .get();
    EXPECT_EQ(seen, 6);
    auto sum = spawn([](std::unique_ptr<int> p, std::unique_ptr<int>&& q) { return *p + *q; },
                     std::make_unique<int>(40), std::make_unique<int>(2));
    EXPECT_EQ(sum.get(), 42);
  });
}

TEST_P(task_values, member_functions_and_members_can_be_spawned) {
  on_fiber([] {
    counted c(7);
    EXPECT_EQ(spawn(&counted::times, &c, 6).get(), 42);
    EXPECT_EQ(spawn(&counted::times, std::ref(c), 2).get(), 14);
    EXPECT_EQ(spawn(&counted::times, c, 3).get(), 21);
    EXPECT_EQ(spawn(&counted::value, c).get(), 7);
  });
  EXPECT_EQ(counted::alive.load(), 0);
}

TEST_P(task_values, a_function_that_can_only_be_moved_runs_once_as_an_rvalue) {
  struct once {
    std::unique_ptr<int> p;
    int operator()() && { return *p; }
  };
  EXPECT_EQ(on_fiber([] { return spawn(once{std::make_unique<int>(5)}).get(); }), 5);
}

TEST_P(task_values, results_may_be_void_references_or_move_only) {
  int target = 1;
  on_fiber([&] {
    spawn([] {}).get();
    int& r = spawn([&]() -> int& { return target; }).get();
    EXPECT_EQ(&r, &target);
    int&& rr = spawn([&]() -> int&& { return std::move(target); }).get();
    EXPECT_EQ(&rr, &target);
    std::unique_ptr<int> p = spawn([] { return std::make_unique<int>(9); }).get();
    EXPECT_EQ(*p, 9);
  });
}

struct named {
  const std::string name() const { return "a const result"; }
};
struct large {
  std::array<char, 1000> bytes{};
  std::unique_ptr<int> p;
};

TEST_P(task_values, results_may_be_const) {
  on_fiber([] {
    const named n;
    const auto f = [&]() -> const std::string { return n.name(); };
    static_assert(std::is_same_v<decltype(spawn(f)), task<const std::string>>);
    EXPECT_EQ(spawn(f).get(), n.name());
    EXPECT_EQ(spawn(&named::name, &n).get(), n.name());
    EXPECT_EQ(*spawn([]() -> const std::unique_ptr<int> { return std::make_unique<int>(4); }).get(),
              4);
    EXPECT_EQ(*spawn([]() -> const large { return {{}, std::make_unique<int>(5)}; }).get().p, 5);
    EXPECT_EQ(async(f).get(), n.name());
    EXPECT_EQ(async(f).share().get(), n.name());
    EXPECT_EQ(offload(f), n.name());
    EXPECT_EQ(offload_async(f).get(), n.name());
    EXPECT_EQ(on_big_stack(1 << 20, f), n.name());
    EXPECT_EQ(std::get<0>(gather(f, [] {})), n.name());
    EXPECT_EQ(std::get<0>(race(f)), n.name());
    EXPECT_EQ(std::get<0>(settle(f)).value(), n.name());
    const std::vector<std::function<const std::string()>> several(2, f);
    EXPECT_EQ(gather(several).at(1), n.name());
    EXPECT_EQ(race(several), n.name());
    EXPECT_EQ(settle(several).at(1).value(), n.name());
  });
}

// They wait, so they need no copy of what their caller keeps; a temporary ends on the fiber.
TEST_P(task_values, run_and_block_on_call_what_has_a_name_where_it_is) {
  struct program {
    std::unique_ptr<int> answer;
    int operator()() { return ++*answer; }
  } mine{std::make_unique<int>(1)};
  EXPECT_EQ(rt().block_on(mine), 2);
  EXPECT_EQ(run(options{.workers = 1}, mine), 3);
  EXPECT_EQ(*mine.answer, 3);
  EXPECT_EQ(rt().block_on(std::move(mine)), 4);
  EXPECT_EQ(mine.answer, nullptr) << "it was moved";

  struct once {
    int operator()() && { return 1; }
  } rvalues_only;
  EXPECT_EQ(rt().block_on(rvalues_only), 1);
}

// "A bare auto returns what F returns."
TEST_P(task_values, what_calls_a_function_returns_its_references_as_they_are) {
  static int here = 0;
  const auto f = []() -> int& { return here; };
  const auto in_group = [](task_group&) -> int& { return here; };
  const auto moved = []() -> int&& { return std::move(here); };
  static_assert(std::is_same_v<decltype(run(f)), int&>);
  static_assert(std::is_same_v<decltype(run(options(), f)), int&>);
  static_assert(
      std::is_same_v<decltype(with_group([](task_group&) -> int&& { return std::move(here); })),
                     int&&>);
  static_assert(std::is_same_v<decltype(with_timeout(1h, moved)), int&&>);
  static_assert(std::is_same_v<decltype(shield([] { return 1; })), int>);
  EXPECT_EQ(&rt().block_on(f), &here);
  rt().block_on([&] {
    EXPECT_EQ(&with_timeout(1h, f), &here);
    EXPECT_EQ(&with_deadline(clock::now() + 1h, [](timeout_scope&) -> int& { return here; }),
              &here);
    EXPECT_EQ(&shield(f), &here);
    EXPECT_EQ(&with_group(in_group), &here);
    EXPECT_EQ(&offload(f), &here);
    EXPECT_EQ(&on_big_stack(1 << 20, f), &here);
    std::vector<int& (*)()> functions(2, f);
    EXPECT_EQ(&race(functions), &here);
    EXPECT_EQ(*with_group([](task_group&) { return std::make_unique<int>(7); }), 7);
  });
}

TEST_P(task_values, results_and_arguments_are_destroyed_exactly_once) {
  on_fiber([] {
    EXPECT_EQ(spawn([](counted c) { return c; }, counted(3)).get().value, 3);
    auto never_read = spawn([] { return counted(4); });
    never_read.wait();
    spawn([](counted) {}, counted(5)).detach();
  });
  EXPECT_TRUE(eventually([] { return counted::alive.load() == 0; })) << counted::alive.load();
}

// Sizes around those of the records' payloads, and far above.
template <std::size_t Bytes>
void round_trip(std::uint8_t seed) {
  std::array<std::uint8_t, Bytes> given;
  for (std::size_t i = 0; i < Bytes; ++i) given[i] = static_cast<std::uint8_t>(seed + i * 7);
  auto same = spawn([given] { return given; });
  EXPECT_EQ(same.get(), given) << Bytes << " bytes";
}

TEST_P(task_values, functions_and_results_of_every_size_arrive_whole) {
  on_fiber([] {
    for (std::uint8_t i = 0; i < 20; ++i) {
      round_trip<1>(i);
      round_trip<64>(i);
      round_trip<96>(i);
      round_trip<224>(i);
      round_trip<480>(i);
      round_trip<481>(i);
      round_trip<1000>(i);
    }
    std::array<char, 5000> large{};
    large.back() = 'z';
    EXPECT_EQ(spawn([large] { return large.back(); }).get(), 'z');
  });
}

TEST_P(task_values, what_is_aligned_to_16_bytes_stays_so) {
  struct alignas(16) wide {
    std::uint64_t low = 1, high = 2;
  };
  struct alignas(64) wider {
    char line[64] = {};
  };
  on_fiber([] {
    const auto misaligned = [](const void* p, std::uintptr_t to) {
      return reinterpret_cast<std::uintptr_t>(p) % to != 0;
    };
    for (int i = 0; i < 20; ++i) {
      auto t = spawn([misaligned, w = wide{}] {
        EXPECT_FALSE(misaligned(&w, 16));
        return w;
      });
      EXPECT_EQ(t.get().high, 2U);
      spawn([misaligned, w = wider{}] { EXPECT_FALSE(misaligned(&w, 64)); }).get();
    }
  });
}

TEST_P(task_values, a_constructor_of_an_argument_that_throws_leaves_no_fiber_behind) {
  struct thrower {
    thrower() = default;
    thrower(const thrower&) { throw std::runtime_error("copy"); }
  };
  on_fiber([] {
    const thrower t;
    EXPECT_THROW((void)spawn([](const thrower&) {}, t), std::runtime_error);
  });
  thrower t;
  EXPECT_THROW((void)rt().spawn([](const thrower&) {}, t), std::runtime_error);
}

TEST_P(task_values, an_exception_of_any_type_is_transported_whole) {
  on_fiber([] {
    struct plain {
      int n;
    };
    auto a = spawn([] { throw plain{3}; });
    try {
      a.get();
      ADD_FAILURE();
    } catch (const plain& p) {
      EXPECT_EQ(p.n, 3);
    }
    auto b = spawn([]() -> int { throw std::out_of_range("far"); });
    EXPECT_NE(b.error(), nullptr);
    EXPECT_NE(b.error(), nullptr);
    EXPECT_THROW(b.get(), std::out_of_range);
    EXPECT_NE(b.error(), nullptr) << "also after get";
    auto c = spawn([] { return 1; });
    EXPECT_EQ(c.error(), nullptr);
    EXPECT_EQ(c.get(), 1);
  });
}

TEST_P(task_values, a_result_whose_copy_throws_is_the_tasks_error) {
  struct fragile {
    fragile() = default;
    fragile(const fragile&) { throw std::logic_error("fragile"); }
  };
  on_fiber([] {
    const fragile one;
    auto t = spawn([&]() -> fragile { return one; });
    EXPECT_THROW(t.get(), std::logic_error);
  });
}

}  // namespace
}  // namespace coir::testing
