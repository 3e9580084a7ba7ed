// Acquires many guarded stacks, releases them and trims, and prints what each cost: `name value
// unit` lines. Usage: million_stacks [COUNT [BYTES]]

#include <coir/fiber/stack.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "hand_fiber.hpp"

using namespace coir::fiber;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  const std::size_t bytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 256 * 1024;
  stack_pool pool;
  const long mappings_before = mappings();
  const long rss_before = status_kib("VmRSS:");
  const long tables_before = status_kib("VmPTE:");

  auto start = std::chrono::steady_clock::now();
  stack* list = nullptr;
  std::size_t have = 0;
  while (have < wanted) {
    std::size_t got = 0;
    stack* more = pool.acquire(stack_pool::rounded(bytes), 32, got);
    if (more == nullptr) break;
    have += got;
    stack* last = more;
    while (last->next != nullptr) last = last->next;
    last->next = list;
    list = more;
  }
  const auto count = static_cast<double>(have);
  const auto rss = static_cast<double>(status_kib("VmRSS:") - rss_before) * 1024;
  const auto tables = static_cast<double>(status_kib("VmPTE:") - tables_before) * 1024;
  std::printf("stacks %zu stacks\n", have);
  std::printf("guard %d kind\n", static_cast<int>(pool.metrics().guard));
  std::printf("acquire %.2f s\n", seconds_since(start));
  std::printf("mappings %ld mappings\n", mappings() - mappings_before);
  std::printf("slabs %zu slabs\n", pool.metrics().slabs);
  std::printf("rss_each %.0f bytes\n", rss / count);
  std::printf("page_tables_each %.0f bytes\n", tables / count);
  std::printf("resident_each %.0f bytes\n", (rss + tables) / count);

  start = std::chrono::steady_clock::now();
  pool.release(list);
  std::printf("release %.2f s\n", seconds_since(start));
  start = std::chrono::steady_clock::now();
  pool.trim();
  std::printf("trim %.2f s\n", seconds_since(start));
  std::printf("rss_after_trim %ld KiB\n", status_kib("VmRSS:") - rss_before);
  return have >= wanted ? 0 : 1;
}
