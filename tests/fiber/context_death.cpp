#include <cstdlib>

#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

void returns_at_once(carrier&, context&) noexcept {}

TEST(switch_context_death, an_entry_function_that_returns_stops_the_process) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  stack_pool pool;
  EXPECT_DEATH(
      {
        host here;
        std::size_t got = 0;
        stack* s = pool.acquire(stack_pool::rounded(64 * 1024), 1, got);
        context c;
        make_context(c, *s, returns_at_once);
        switch_context(here.on, here.self, c);
      },
      "coir: the entry function of a fiber has returned");
}

}  // namespace
}  // namespace coir::fiber
