// Deadlines: a million of them at once, and one that is set and taken back.
#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

class random_numbers {  // the same ones each time
 public:
  std::uint32_t below(std::uint32_t limit) noexcept {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>((state_ >> 32) * limit >> 32);
  }

 private:
  std::uint64_t state_ = 1;
};

// Two fibers hand two permits to each other, so that each waits each time. ns for one wait.
double hand_over(std::uint64_t count, bool with_deadline) {
  coir::counting_semaphore<> there{0}, back{0};
  const auto wait_for = [with_deadline](auto& permit) {
    if (with_deadline)
      (void)permit.try_acquire_for(1h);
    else
      permit.acquire();
  };
  auto other = coir::spawn([&] {
    for (std::uint64_t i = 0; i < count; ++i) {
      wait_for(there);
      back.release();
    }
  });
  const std::uint64_t begin = now_ns();
  for (std::uint64_t i = 0; i < count; ++i) {
    there.release();
    wait_for(back);
  }
  const std::uint64_t spent = now_ns() - begin;
  other.get();
  return static_cast<double>(spent) / static_cast<double>(2 * count);
}

}  // namespace

// Each sleeps up to a second. What bounds it is one fresh page of stack for each.
bool measure_sleepers(const settings& s) {
  bool good = true;
  for (const unsigned workers : s.worker_counts())
    good &= in_child(s, [&] {
      const std::uint64_t count = s.count_or(1'000'000, 1'000);
      on_workers(s, workers, [&] {
        random_numbers random;
        std::vector<coir::task<void>> tasks;
        tasks.reserve(count);
        const std::uint64_t begin = now_ns();
        const double cpu = cpu_seconds();
        for (std::uint64_t i = 0; i < count; ++i)
          tasks.push_back(coir::spawn([d = std::chrono::microseconds(random.below(1'000'000))] {
            coir::this_fiber::sleep_for(d);
          }));
        for (auto& t : tasks) t.get();
        report(with_workers("sleepers_wall", workers), static_cast<double>(now_ns() - begin) / 1e9,
               "s");
        report(with_workers("sleepers_cpu", workers), cpu_seconds() - cpu, "s");
        report(with_workers("sleepers_peak_memory", workers),
               static_cast<double>(memory_now().peak) / (1 << 20), "MiB");
      });
    });
  return good;
}

// What a deadline adds to a wait that ends before it: alone, and among 100,000 others.
bool measure_deadlines(const settings& s) {
  bool good = true;
  for (const std::uint64_t others :
       {std::uint64_t{0}, s.quick ? std::uint64_t{100} : std::uint64_t{100'000}})
    good &= in_child(s, [&] {
      const std::uint64_t count = s.count_or(2'000'000, 1'000);
      on_workers(s, 1, [&] {
        coir::event end;
        random_numbers random;
        std::vector<coir::task<void>> sleepers;
        for (std::uint64_t i = 0; i < others; ++i)
          sleepers.push_back(
              coir::spawn([&end, d = 1h + std::chrono::milliseconds(random.below(3'600'000))] {
                (void)end.wait_for(d);
              }));
        coir::this_fiber::yield();
        const double without = hand_over(count, false), with = hand_over(count, true);
        const std::string name = others == 0 ? "deadline" : "deadline_among_others";
        if (others == 0) report("hand_over", without, "ns");
        report(name, with - without, "ns");
        end.set();
        for (auto& t : sleepers) t.get();
      });
    });
  return good;
}

}  // namespace bench
