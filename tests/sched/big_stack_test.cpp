// on_big_stack: more stack for a while, on the same fiber.
#include <coir/coroutine/coroutine.hpp>
#include <coir/sched/big_stack.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <memory>
#include <stdexcept>
#include <system_error>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

// Uses about a kilobyte a level.
[[gnu::noinline]] int deep(int levels) {
  volatile char space[1000];
  space[0] = 1;
  space[999] = 1;
  return levels == 0 ? 0 : space[0] + deep(levels - 1) - space[999] + 1;
}

class big_stack_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, big_stack_test, every_setting(), name_of);

TEST_P(big_stack_test, code_that_needs_more_stack_runs) {
  on_fiber([] {
    EXPECT_EQ(on_big_stack(4 * mebibyte, [] { return deep(2000); }), 2000);
    EXPECT_EQ(*on_big_stack(mebibyte, [] { return std::make_unique<int>(3); }), 3);
    int here = 1;
    on_big_stack(mebibyte, [&here] { here = 2; });
    EXPECT_EQ(here, 2);
    EXPECT_THROW(on_big_stack(mebibyte, [] { throw std::out_of_range("there"); }),
                 std::out_of_range);
  });
  EXPECT_EQ(on_big_stack(16 * mebibyte, [] { return deep(12000); }), 12000) << "a plain thread";
}

TEST_P(big_stack_test, it_is_the_same_fiber_and_its_stack_is_the_big_one) {
  on_fiber([] {
    const fiber_id me = this_fiber::id();
    const std::size_t usual = this_fiber::stack_size();
    on_big_stack(mebibyte, [&] {
      EXPECT_EQ(this_fiber::id(), me);
      EXPECT_GE(this_fiber::stack_size(), mebibyte);
      EXPECT_LT(this_fiber::stack_used(), mebibyte / 2);
      on_big_stack(2 * mebibyte,
                   [] { EXPECT_GE(this_fiber::stack_size(), 2 * mebibyte) << "nested"; });
      EXPECT_LT(this_fiber::stack_size(), 2 * mebibyte);
    });
    EXPECT_EQ(this_fiber::stack_size(), usual);
  });
}

TEST_P(big_stack_test, it_may_block_and_move_and_be_cancelled) {
  on_fiber([] {
    std::vector<task<int>> tasks;
    event go_on;
    for (int i = 0; i < 20; ++i)
      tasks.push_back(spawn([&, i] {
        return on_big_stack(mebibyte, [&] {
          go_on.wait();
          for (int k = 0; k < 20; ++k) this_fiber::yield();
          return i + deep(300);
        });
      }));
    go_on.set();
    for (int i = 0; i < 20; ++i) EXPECT_EQ(tasks[static_cast<std::size_t>(i)].get(), i + 300);

    event inside;
    auto t = spawn([&] {
      on_big_stack(mebibyte, [&] {
        inside.set();
        this_fiber::sleep_for(1h);
      });
    });
    inside.wait();
    t.cancel();
    t.wait();
    EXPECT_TRUE(t.cancelled());
  });
}

TEST_P(big_stack_test, a_coroutine_may_yield_on_one_and_be_resumed_by_another_fiber) {
  on_fiber([] {
    auto co = coroutine<int()>([](auto& yield) {
      yield(1);
      on_big_stack(mebibyte, [&] {
        yield(2 + deep(300) - 300);
        this_fiber::yield();
        yield(3);
      });
      yield(4);
    });
    EXPECT_EQ(co.resume(), 1);
    EXPECT_EQ(co.resume(), 2);
    spawn([&] { EXPECT_EQ(co.resume(), 3); }).get();
    const std::size_t usual = this_fiber::stack_size();
    EXPECT_EQ(co.resume(), 4);
    EXPECT_EQ(this_fiber::stack_size(), usual);
    EXPECT_FALSE(co.resume());
  });
}

TEST_P(big_stack_test, called_while_unwinding_it_is_not_cancelled) {
  on_fiber([] {
    event inside;
    bool through = false;
    auto t = spawn([&] {
      struct on_a_big_stack_at_the_end {
        bool& through;
        ~on_a_big_stack_at_the_end() {
          on_big_stack(mebibyte, [this] {
            EXPECT_EQ(std::uncaught_exceptions(), 1);
            this_fiber::yield();
            through = true;
          });
        }
      } guard{through};
      inside.set();
      this_fiber::sleep_for(1h);
    });
    inside.wait();
    t.cancel();
    t.wait();
    EXPECT_TRUE(t.cancelled());
    EXPECT_TRUE(through);
  });
}

TEST_P(big_stack_test, impossible_sizes_are_refused) {
  on_fiber([] {
    EXPECT_THROW(on_big_stack(~std::size_t{0}, [] {}), std::invalid_argument);
    EXPECT_THROW(on_big_stack(std::size_t{1} << 46, [] {}), std::invalid_argument);
    EXPECT_EQ(on_big_stack(0, [] { return 1; }), 1);
  });
}

}  // namespace
}  // namespace coir::testing
