// Fibers that do nothing but let each other run.
#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {

// Two fibers: each waits for what the other's switch has just stored. 200: their stacks stay in the
// first-level cache. 1000: they do not. With two workers the figure is the whole machine's.
bool measure_yield(const settings& s) {
  bool good = true;
  for (const std::uint64_t fibers : {2, 200, 1000}) {
    if (s.fibers && *s.fibers != fibers) continue;
    for (const unsigned workers : s.worker_counts()) {
      const std::uint64_t each = s.count_or(20'000'000, 20'000) / fibers;
      good &= in_child(s, [&] {
        on_workers(s, workers, [&] {
          std::vector<coir::task<void>> tasks;
          const std::uint64_t begin = now_ns();
          for (std::uint64_t i = 0; i < fibers; ++i)
            tasks.push_back(coir::spawn([each] {
              for (std::uint64_t n = each; n != 0; --n) coir::this_fiber::yield();
            }));
          for (auto& t : tasks) t.get();
          const auto spent = static_cast<double>(now_ns() - begin);
          report(with_workers("yield_" + std::to_string(fibers), workers),
                 spent / static_cast<double>(each * fibers), "ns");
        });
      });
    }
  }
  return good;
}

}  // namespace bench
