// The workloads of coir_bench that Boost.Fiber can run, under the same names.
#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>
#include <boost/fiber/algo/work_stealing.hpp>
#include <boost/fiber/all.hpp>

#include "../flags.hpp"
#include "../histogram.hpp"
#include "../process.hpp"
#include "../report.hpp"

namespace {

using namespace bench;
namespace fibers = boost::fibers;

// Boost's default of 128 KiB is no slower, but a million of them do not fit everywhere.
constexpr std::size_t stack_size = 16 * 1024;

template <class F>
fibers::fiber spawn(F&& f) {
  return fibers::fiber(fibers::launch::post, std::allocator_arg,
                       fibers::fixedsize_stack(stack_size), std::forward<F>(f));
}

void join(std::vector<fibers::fiber>& all) {
  for (auto& f : all) f.join();
}

// main on this thread, and `workers - 1` more threads that take fibers from it.
void on_workers(unsigned workers, bool pin, const std::function<void()>& main) {
  fibers::mutex mutex;
  fibers::condition_variable_any changed;
  bool done = false;
  const auto help = [&] {
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
    std::unique_lock held(mutex);
    changed.wait(held, [&] { return done; });
  };
  std::thread first([&] {
    if (workers > 1) fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
    if (pin) std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until all are pinned
    main();
    std::unique_lock held(mutex);
    done = true;
    held.unlock();
    changed.notify_all();
  });
  std::vector<std::thread> others;
  for (unsigned i = 1; i < workers; ++i) others.emplace_back(help);
  if (pin) pin_other_threads();
  first.join();
  for (auto& t : others) t.join();
}

std::string named(const std::string& name, unsigned workers) {
  return name + "_t" + std::to_string(workers);
}

double each(std::uint64_t begin, std::uint64_t count) {
  return static_cast<double>(now_ns() - begin) / static_cast<double>(count);
}

void yield(unsigned workers) {
  for (const std::uint64_t n : {2, 200, 1000}) {
    const std::uint64_t turns = 5'000'000 / n;
    const std::uint64_t begin = now_ns();
    std::vector<fibers::fiber> all;
    for (std::uint64_t i = 0; i < n; ++i)
      all.push_back(spawn([turns] {
        for (std::uint64_t t = turns; t != 0; --t) boost::this_fiber::yield();
      }));
    join(all);
    report(named("yield_" + std::to_string(n), workers), each(begin, n * turns), "ns");
  }
}

void spawn_join(unsigned workers) {
  constexpr std::uint64_t count = 500'000;
  const std::uint64_t begin = now_ns();
  for (std::uint64_t i = 0; i < count; ++i) spawn([] {}).join();
  report(named("spawn_join", workers), each(begin, count), "ns");
}

void spawn_many(unsigned workers) {
  constexpr std::uint64_t count = 1'000'000;
  const std::uint64_t begin = now_ns();
  std::vector<fibers::fiber> all;
  all.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) all.push_back(spawn([] {}));
  join(all);
  report(named("spawn_many", workers), each(begin, count), "ns");
}

std::uint64_t fibonacci(unsigned n) {
  if (n < 2) return n;
  std::uint64_t larger = 0;
  auto f = spawn([&larger, n] { larger = fibonacci(n - 1); });
  const std::uint64_t smaller = fibonacci(n - 2);
  f.join();
  return larger + smaller;
}

void fork_join(unsigned workers) {
  const std::uint64_t begin = now_ns();
  if (fibonacci(27) != 196'418) std::abort();
  report(named("fork_join_fib27", workers), each(begin, 1'000'000), "ms");
}

void contend(unsigned workers) {
  constexpr std::uint64_t count = 100, turns = 10'000;
  fibers::mutex mutex;
  std::uint64_t counter = 0;
  const std::uint64_t begin = now_ns();
  std::vector<fibers::fiber> all;
  for (std::uint64_t i = 0; i < count; ++i)
    all.push_back(spawn([&] {
      for (std::uint64_t t = turns; t != 0; --t) {
        std::lock_guard held(mutex);
        ++counter;
        boost::this_fiber::yield();
      }
    }));
  join(all);
  report(named("mutex", workers), each(begin, count * turns), "ns");
  if (counter != count * turns) std::abort();
}

// A second thread with a scheduler of its own waits on a channel.
void wake(unsigned) {
  constexpr std::uint64_t count = 20'000;
  fibers::buffered_channel<int> channel{2};
  std::atomic<std::uint64_t> sent{0}, received{0};
  histogram latency;
  std::thread waiter([&] {
    pin_this_thread(1);
    for (std::uint64_t i = 1; i <= count; ++i) {
      channel.value_pop();
      latency.add(now_ns() - sent.load());
      received.store(i);
    }
  });
  for (std::uint64_t i = 1; i <= count; ++i) {
    const std::uint64_t until = now_ns() + 30'000;
    while (now_ns() < until) {}
    sent.store(now_ns());
    channel.push(0);
    while (received.load() < i) {}
  }
  waiter.join();
  report("wake_sleeping_p50", latency.percentile(0.5) / 1000, "us");
  report("wake_sleeping_p99", latency.percentile(0.99) / 1000, "us");
}

void sleepers(unsigned workers) {
  constexpr std::uint64_t count = 1'000'000;
  std::uint64_t state = 1;
  const std::uint64_t begin = now_ns();
  const double cpu = cpu_seconds();
  std::vector<fibers::fiber> all;
  all.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    all.push_back(spawn([d = std::chrono::microseconds((state >> 32) * 1'000'000 >> 32)] {
      boost::this_fiber::sleep_for(d);
    }));
  }
  join(all);
  report(named("sleepers_wall", workers), each(begin, 1'000'000'000), "s");
  report(named("sleepers_cpu", workers), cpu_seconds() - cpu, "s");
  report(named("sleepers_peak_memory", workers), static_cast<double>(memory_now().peak) / (1 << 20),
         "MiB");
}

struct workload {
  std::string name;
  void (*run)(unsigned workers);
  std::vector<unsigned> workers;
};
const std::vector<workload> workloads{
    {"yield", &yield, {1, 2}},        {"spawn_join", &spawn_join, {1}},
    {"spawn_many", &spawn_many, {1}}, {"fork_join", &fork_join, {1, 2}},
    {"mutex", &contend, {1, 2}},      {"wake", &wake, {1}},
    {"sleepers", &sleepers, {1}},
};

}  // namespace

int main(int argc, char** argv) {
  const flags given(argc, argv, "[WORKLOAD...] [OPTION...]",
                    {{"workers", "N", "instead of 1 and 2"},
                     {"pin", "", "each thread to a processor of its own"}});
  for (const workload& w : workloads) {
    const auto& words = given.words();
    if (!words.empty() && std::find(words.begin(), words.end(), w.name) == words.end()) continue;
    for (const unsigned workers : w.workers) {
      if (given.number("workers", workers) != workers) continue;
      const pid_t child = ::fork();
      if (child == 0) {
        on_workers(workers, given.has("pin"), [&] { w.run(workers); });
        std::exit(0);
      }
      ::waitpid(child, nullptr, 0);
    }
  }
}
