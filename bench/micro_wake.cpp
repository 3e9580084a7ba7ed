// How long until a fiber of another worker runs.
#include <atomic>
#include <stdexcept>
#include <thread>

#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sync/counting_semaphore.hpp>

#include "histogram.hpp"
#include "process.hpp"
#include "report.hpp"
#include "two_workers.hpp"
#include "workload.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

void spin_for(std::chrono::nanoseconds d) {
  const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(d.count());
  while (now_ns() < end) {}
}

constexpr std::uint64_t forgotten_ns = 2'000'000'000;

struct shared {
  coir::counting_semaphore<> go{0};
  std::atomic<std::uint64_t> sent{0}, received{0};
  histogram latency;  // the waiter's
};

// The waiter sleeps, or its worker does, for `gap` before it is woken.
void wake_pinned(shared& s, std::uint64_t count, std::chrono::nanoseconds gap) {
  on_two_workers(
      [&] {
        for (std::uint64_t i = 1; i <= count; ++i) {
          s.go.acquire();
          s.latency.add(now_ns() - s.sent.load());
          s.received.store(i);
        }
      },
      [&] {
        for (std::uint64_t i = 1; i <= count; ++i) {
          spin_for(gap);
          s.sent.store(now_ns());
          s.go.release();
          while (s.received.load() < i) {}
        }
      });
}

// The waker goes on computing, and whoever it woke can only be run by another worker.
void wake_behind_busy(shared& s, std::uint64_t count) {
  auto waiter = coir::spawn([&] {
    for (std::uint64_t i = 1; i <= count; ++i) {
      s.go.acquire();
      s.latency.add(now_ns() - s.sent.load());
      s.received.store(i);
    }
  });
  for (std::uint64_t i = 1; i <= count; ++i) {
    coir::this_fiber::sleep_for(1ms);
    s.sent.store(now_ns());
    s.go.release();
    for (std::uint64_t sent = s.sent.load(); s.received.load() < i;)
      if (now_ns() > sent + forgotten_ns)
        throw std::runtime_error("wake: what a busy fiber woke was not taken over in two seconds");
  }
  waiter.get();
}

void report_latency(const std::string& name, const histogram& h) {
  report(name + "_p50", h.percentile(0.5) / 1000, "us");
  report(name + "_p99", h.percentile(0.99) / 1000, "us");
}

}  // namespace

bool measure_wake(const settings& s) {
  struct variant {
    const char* name;
    std::chrono::microseconds idle_poll;
    std::chrono::nanoseconds gap;
  };
  const auto usual = s.base.idle_poll;
  bool good = true;
  for (const variant& v :
       {variant{"wake_sleeping", 0us, 30us}, variant{"wake_default", usual, 30us},
        variant{"wake_polling", usual, 5us}})
    good &= in_child(s, [&] {
      settings with = s;
      if (!s.idle_poll) with.idle_poll = v.idle_poll;
      const std::uint64_t count = s.count_or(20'000, 50);
      on_workers(with, 2, [&] {
        shared all;
        wake_pinned(all, count, v.gap);
        report_latency(v.name, all.latency);
      });
    });
  good &= in_child(s, [&] {
    on_workers(s, 2, [&] {
      shared all;
      wake_behind_busy(all, s.count_or(500, 10));
      report_latency("wake_behind_busy", all.latency);
    });
  });
  return good;
}

}  // namespace bench
