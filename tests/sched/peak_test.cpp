// F6: the memory of a peak of fibers comes back.
#include <coir/sync/event.hpp>

#include <cstdio>

#include "../fiber/hand_fiber.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

long resident_kib() { return fiber::status_kib("VmRSS:") + fiber::status_kib("VmPTE:"); }

// So many fibers at once, each parked on a stack of its own; what the process has then.
long peak_of(runtime& r, unsigned n) {
  event go;
  std::atomic<unsigned> begun{0};
  std::vector<task<void>> all;
  for (unsigned i = 0; i < n; ++i)
    all.push_back(r.spawn([&] {
      ++begun;
      go.wait();
    }));
  EXPECT_TRUE(eventually([&] { return begun == n; }, 50s));
  const long kib = resident_kib();
  go.set();
  for (auto& t : all) t.get();
  return kib;
}

TEST(peak_test, memory_and_mappings_fall_and_do_not_grow_from_peak_to_peak) {
  if (sanitized) GTEST_SKIP() << "the sanitizer's own memory is counted too";
  const unsigned n = 20'000 * scale();
  auto r = make_runtime(2);
  const long peak = peak_of(*r, n);
  // Idle workers give back after half a second.
  EXPECT_TRUE(eventually([&] { return resident_kib() < peak / 4; }, 20s))
      << resident_kib() << " KiB of " << peak;
  const long first_maps = fiber::mappings(), first_kib = resident_kib();
  for (int repetition = 0; repetition < 9; ++repetition) peak_of(*r, n);
  EXPECT_TRUE(eventually([&] { return resident_kib() < peak / 4; }, 20s))
      << resident_kib() << " KiB of " << peak;
  EXPECT_LE(fiber::mappings(), first_maps + 2);
  std::printf("%u fibers: %ld KiB, then %ld, and %ld after ten times; %ld mappings, then %ld\n", n,
              peak, first_kib, resident_kib(), first_maps, fiber::mappings());
}

}  // namespace
}  // namespace coir::testing
