#include <algorithm>

#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

stack_pool_options with(guard_kind kind) {
  stack_pool_options o;
  o.guard = kind;
  return o;
}

stack* one(stack_pool& pool) {
  std::size_t got = 0;
  return pool.acquire(stack_pool::rounded(64 * 1024), 1, got);
}

class stack_pool_death : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(stack_pool_death, an_overwritten_canary_stops_the_process_at_the_release) {
  EXPECT_DEATH(
      {
        stack_pool pool(with(guard_kind::canary));
        stack* s = one(pool);
        s->limit[-1] = std::byte{1};
        pool.release(s);
      },
      "coir: stack overflow: the memory below a stack without a guard has been overwritten");
}

TEST_F(stack_pool_death, a_stack_released_twice_stops_the_process) {
  EXPECT_DEATH(
      {
        stack_pool pool;
        stack* s = one(pool);
        pool.release(s);
        pool.release(s);
      },
      "coir: a stack is released twice");
}

TEST_F(stack_pool_death, a_pool_destroyed_under_its_stacks_stops_the_process) {
  EXPECT_DEATH(
      {
        stack_pool pool;
        one(pool);
      },
      "coir: a stack pool is destroyed while stacks of it are in use");
}

}  // namespace
}  // namespace coir::fiber
