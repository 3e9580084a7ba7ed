#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

// Threads that take and put through caches of their own, mark what they hold, and trim now and
// then.
TEST(stack_pool_stress, no_stack_is_ever_held_twice) {
  stack_pool pool;
  const std::size_t size = stack_pool::rounded(64 * 1024);
  const unsigned rounds = (sanitized ? 300 : 3'000) * scale();
  std::atomic<unsigned> wrong{0};
  const auto work = [&](std::uint32_t number) {
    std::minstd_rand random(number);
    stack_cache cache(pool, size);
    std::vector<stack*> held;
    const auto mark = [](stack* s) { return reinterpret_cast<std::uint32_t*>(s) - 1; };
    for (unsigned round = 0; round < rounds; ++round) {
      for (auto n = random() % 200; n > 0; --n) {
        stack* s = cache.take(random() % 8 == 0 ? stack_pool::rounded(16 * 1024) : size);
        if (s == nullptr) continue;
        *mark(s) = number;
        held.push_back(s);
      }
      for (auto n = random() % 200; n > 0 && !held.empty(); --n) {
        stack* s = held.back();
        held.pop_back();
        if (*mark(s) != number) ++wrong;
        *mark(s) = 0;
        cache.put(s);
      }
      if (random() % 50 == 0) cache.give_back();
    }
    for (stack* s : held) cache.put(s);
  };
  std::vector<std::thread> crowd;
  for (std::uint32_t t = 1; t <= 4; ++t) crowd.emplace_back(work, t);
  for (auto& t : crowd) t.join();
  EXPECT_EQ(wrong.load(), 0U);
  EXPECT_EQ(pool.metrics().stacks_in_use, 0U);
  pool.trim();
  EXPECT_EQ(pool.metrics().stacks_cached, 0U);
}

}  // namespace
}  // namespace coir::fiber
