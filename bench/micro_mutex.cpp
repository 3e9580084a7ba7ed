// A mutex that is always contended: whoever holds it yields.
#include <mutex>
#include <stdexcept>

#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sync/mutex.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {

bool measure_mutex(const settings& s) {
  bool good = true;
  for (const unsigned workers : s.worker_counts())
    good &= in_child(s, [&] {
      const std::uint64_t fibers = s.fibers.value_or(100);
      const std::uint64_t each = s.count_or(2'000'000, 10'000) / fibers;
      on_workers(s, workers, [&] {
        coir::mutex mutex;
        std::uint64_t counter = 0;
        std::vector<coir::task<void>> tasks;
        const std::uint64_t begin = now_ns();
        for (std::uint64_t i = 0; i < fibers; ++i)
          tasks.push_back(coir::spawn([&] {
            for (std::uint64_t n = each; n != 0; --n) {
              std::lock_guard held(mutex);
              ++counter;
              coir::this_fiber::yield();
            }
          }));
        for (auto& t : tasks) t.get();
        report(with_workers("mutex", workers),
               static_cast<double>(now_ns() - begin) / static_cast<double>(fibers * each), "ns");
        if (counter != fibers * each) throw std::runtime_error("mutex: two held it at once");
      });
    });
  return good;
}

}  // namespace bench
