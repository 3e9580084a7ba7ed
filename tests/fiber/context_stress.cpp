#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

// Every fiber throws, parks inside the handler, and is resumed by whichever thread draws it.
void live(hand_fiber& self, int number, unsigned rounds) {
  const std::string mine = std::to_string(number);
  for (unsigned round = 0; round < rounds; ++round) {
    try {
      try {
        throw std::runtime_error(mine);
      } catch (...) {
        write_errno(number);
        self.pause();
        EXPECT_EQ(read_errno(), number);
        throw;
      }
    } catch (std::exception& e) {
      self.pause();
      EXPECT_EQ(e.what(), mine);
    }
  }
}

TEST(switch_context_stress, fibers_wander_between_threads_with_their_exceptions) {
  constexpr int fibers = 64;
  constexpr int threads = 4;
  const unsigned rounds = (sanitized ? 200 : 2'000) * scale();
  stack_pool pool;
  std::vector<std::unique_ptr<hand_fiber>> all;
  for (int i = 0; i < fibers; ++i)
    all.push_back(
        std::make_unique<hand_fiber>(pool, [i, rounds](hand_fiber& f) { live(f, i + 1, rounds); }));
  std::array<std::mutex, fibers> locks;
  std::atomic<int> alive{fibers};
  const auto resume_at_random = [&](unsigned seed) {
    host here;
    std::minstd_rand random(seed);
    while (alive.load() > 0) {
      const std::size_t i = random() % fibers;
      const std::unique_lock hold(locks[i], std::try_to_lock);
      if (!hold.owns_lock() || all[i]->ended()) continue;
      all[i]->resume(here);
      if (all[i]->ended()) --alive;
    }
  };
  std::vector<std::thread> crowd;
  for (unsigned t = 0; t < threads; ++t) crowd.emplace_back(resume_at_random, t + 1);
  for (auto& t : crowd) t.join();
  for (auto& f : all) EXPECT_TRUE(f->ended());
}

}  // namespace
}  // namespace coir::fiber
