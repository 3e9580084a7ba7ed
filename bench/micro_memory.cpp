// What a fiber costs that waits.
#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sync/event.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

double difference(std::uint64_t later, std::uint64_t earlier) {
  return static_cast<double>(later) - static_cast<double>(earlier);
}

void park_many(const std::string& name, std::uint64_t count) {
  coir::event end;
  std::uint64_t parked = 0;  // one worker
  std::vector<coir::task<void>> tasks;
  tasks.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) tasks.emplace_back();  // their memory is the program's
  const memory before = memory_now();
  const std::uint64_t begin = now_ns();
  for (auto& t : tasks)
    t = coir::spawn([&] {
      ++parked;
      end.wait();
    });
  while (parked < count) coir::this_fiber::yield();
  const auto created = static_cast<double>(now_ns() - begin);
  const memory after = memory_now();
  report(name + "_bytes",
         (difference(after.resident, before.resident) +
          difference(after.page_tables, before.page_tables)) /
             static_cast<double>(count),
         "B");
  report(name + "_mappings", difference(after.mappings, before.mappings), "mappings");
  report(name + "_create", created / 1e9, "s");
  const std::uint64_t woken = now_ns();
  end.set();
  for (auto& t : tasks) t.get();
  report(name + "_end", static_cast<double>(now_ns() - woken) / 1e9, "s");
}

}  // namespace

// At 64 KiB of stack, which leaves fewer page tables half empty, and at the default.
bool measure_parked(const settings& s) {
  bool good = true;
  for (const bool small : {true, false}) {
    if (s.stack_size && !small) continue;
    settings with = s;
    if (small && !s.stack_size) with.stack_size = 64 * 1024;
    good &= in_child(with, [&] {
      const std::uint64_t count = s.fibers.value_or(s.quick ? 1'000 : 1'000'000);
      on_workers(with, 1, [&] {
        park_many(s.stack_size ? "parked" : small ? "parked_64k" : "parked_default", count);
      });
    });
  }
  return good;
}

}  // namespace bench
