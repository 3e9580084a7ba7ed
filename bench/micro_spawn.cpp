// Starting fibers and waiting for their end.
#include <coir/sched/task.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

void spawn_many(std::uint64_t count) {
  std::vector<coir::task<void>> tasks;
  tasks.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) tasks.push_back(coir::spawn([] {}));
  for (auto& t : tasks) t.get();
}

std::uint64_t fibonacci(unsigned n) {
  if (n < 2) return n;
  auto larger = coir::spawn([n] { return fibonacci(n - 1); });
  const std::uint64_t smaller = fibonacci(n - 2);
  return larger.get() + smaller;
}

std::uint64_t plain_fibonacci(unsigned n) {
  std::uint64_t a = 0, b = 1;
  while (n-- != 0) b += std::exchange(a, b);
  return a;
}

}  // namespace

// One at a time: each is joined before the next is spawned.
bool measure_spawn_join(const settings& s) {
  bool good = true;
  for (const unsigned workers : s.worker_counts())
    good &= in_child(s, [&] {
      const std::uint64_t count = s.count_or(5'000'000, 10'000);
      on_workers(s, workers, [&] {
        const std::uint64_t begin = now_ns();
        for (std::uint64_t i = 0; i < count; ++i) coir::spawn([] {}).get();
        report(with_workers("spawn_join", workers),
               static_cast<double>(now_ns() - begin) / static_cast<double>(count), "ns");
      });
    });
  return good;
}

// All are spawned before the first is joined; a second time with the memory of the first.
bool measure_spawn_many(const settings& s) {
  bool good = true;
  for (const unsigned workers : s.worker_counts())
    good &= in_child(s, [&] {
      const std::uint64_t count = s.count_or(1'000'000, 2'000);
      on_workers(s, workers, [&] {
        for (const char* name : {"spawn_many", "spawn_many_warm"}) {
          const std::uint64_t begin = now_ns();
          spawn_many(count);
          report(with_workers(name, workers),
                 static_cast<double>(now_ns() - begin) / static_cast<double>(count), "ns");
        }
      });
    });
  return good;
}

// A task for every call: as much parallelism as there can be, in pieces of no work.
bool measure_fork_join(const settings& s) {
  bool good = true;
  for (const unsigned workers : s.worker_counts())
    good &= in_child(s, [&] {
      const auto n = static_cast<unsigned>(s.count_or(27, 12));
      on_workers(s, workers, [&] {
        const std::uint64_t begin = now_ns();
        const std::uint64_t result = fibonacci(n);
        report(with_workers("fork_join_fib" + std::to_string(n), workers),
               static_cast<double>(now_ns() - begin) / 1e6, "ms");
        if (result != plain_fibonacci(n)) throw std::runtime_error("fork_join: a wrong sum");
      });
    });
  return good;
}

}  // namespace bench
