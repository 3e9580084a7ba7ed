// How work spreads over two workers, and what that costs: who steals, how often, and for what.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <thread>

#include <coir/coir.hpp>

#include "histogram.hpp"
#include "process.hpp"
#include "report.hpp"
#include "unix_echo.hpp"
#include "workload.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

void compute_for(std::chrono::nanoseconds d) {
  const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(d.count());
  while (now_ns() < end) {}
}

double per(double what, std::uint64_t count) { return what / static_cast<double>(count); }

// What happened since it was made, for each of `count` operations.
class account {
 public:
  void report_each(const std::string& name, std::uint64_t count) const {
    const auto now = coir::runtime::current().metrics();
    report(name + "_cpu", per((cpu_seconds() - cpu_) * 1e6, count), "us");
    report(name + "_wall", per(static_cast<double>(now_ns() - begin_) / 1e3, count), "us");
    if (now.workers == 1) return;
    report(name + "_steals", per(static_cast<double>(now.steals - before_.steals), count), "each");
    report(name + "_stolen", per(static_cast<double>(now.stolen - before_.stolen), count), "each");
    report(name + "_sleeps", per(static_cast<double>(now.sleeps - before_.sleeps), count), "each");
  }

 private:
  coir::runtime_metrics before_ = coir::runtime::current().metrics();
  double cpu_ = cpu_seconds();
  std::uint64_t begin_ = now_ns();
};

// Every connection is accepted, and its fiber spawned, by one fiber, which stays where it is. The
// clients are fibers of the same runtime.
void echo_all(const std::string& name, std::uint64_t connections, std::uint64_t requests) {
  std::vector<coir::unix_stream> clients;
  coir::task_group servers;
  const coir::pin_guard accepts_here;
  for (std::uint64_t i = 0; i < connections; ++i) {
    auto [here, there] = coir::unix_stream::pair();
    clients.push_back(std::move(here));
    servers.spawn(echo, std::move(there));
  }
  const auto ask = [&](std::uint64_t i, std::uint64_t times) {
    std::array<char, 64> buffer{};
    for (; times != 0; --times) {
      clients[i].write(std::string_view(buffer.data(), buffer.size()));
      std::size_t got = 0;
      while (got < buffer.size()) got += clients[i].read_some(std::span(buffer).subspan(got));
    }
  };
  const account spent;
  coir::with_group([&](coir::task_group& g) {
    for (std::uint64_t i = 0; i < connections; ++i)
      g.spawn([&, i] { ask(i, requests / connections); });
  });
  spent.report_each(name, requests / connections * connections);
  for (auto& c : clients) c.close();
  servers.join();
}

// One fiber computes for 50 ms while others, which have begun on the same worker, yield, sleep, and
// wake each other: how late do those run?
void beside_a_hog(std::uint64_t rounds) {
  histogram late;
  std::uint64_t worst = 0;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    std::atomic<bool> over{false};
    std::array<std::uint64_t, 20> most{};
    coir::with_group([&](coir::task_group& g) {
      for (auto& mine : most)
        g.spawn([&] {
          while (!over.load(std::memory_order_relaxed)) {
            const std::uint64_t due = now_ns() + 1'000'000;
            coir::this_fiber::sleep_for(1ms);
            mine = std::max(mine, now_ns() - std::min(due, now_ns()));
          }
        });
      coir::this_fiber::sleep_for(5ms);
      compute_for(50ms);
      over = true;
    });
    for (const std::uint64_t l : most) late.add(l), worst = std::max(worst, l);
  }
  report("balance_hog_late_p50", late.percentile(0.5) / 1e6, "ms");
  report("balance_hog_late_most", static_cast<double>(worst) / 1e6, "ms");
}

// One fiber spawns tasks of 5 us each, all at once. Two workers should take half as long.
void burst(const std::string& name, std::uint64_t tasks) {
  std::atomic<std::uint64_t> done{0};
  const account spent;
  coir::with_group([&](coir::task_group& g) {
    for (std::uint64_t i = 0; i < tasks; ++i)
      g.spawn([&] {
        compute_for(5us);
        done.fetch_add(1, std::memory_order_relaxed);
      });
  });
  if (done != tasks) throw std::runtime_error("balance: a task has not run");
  spent.report_each(name, tasks);
}

// Many wait for one event, again and again; all wake at once, and do next to nothing.
void wake_storm(const std::string& name, std::uint64_t fibers, std::uint64_t storms) {
  std::vector<coir::event> gates(storms);
  coir::barrier<> all(static_cast<std::ptrdiff_t>(fibers) + 1);
  coir::with_group([&](coir::task_group& g) {
    for (std::uint64_t i = 0; i < fibers; ++i)
      g.spawn([&] {
        for (auto& gate : gates) {
          gate.wait();
          (void)all.arrive_and_wait();
        }
      });
    coir::this_fiber::sleep_for(10ms);
    const account spent;
    for (auto& gate : gates) {
      gate.set();
      (void)all.arrive_and_wait();
    }
    spent.report_each(name, fibers * storms);
  });
}

// Work for one processor on one: what a second worker that has nothing to win adds.
double one_workers_work(const settings& s, unsigned workers, bool pin_to_one) {
  double cpu = 0;
  if (pin_to_one) pin_this_thread(0);
  on_workers(s, workers, [&] {
    coir::channel<int> there, back;
    const std::uint64_t rounds = s.count_or(100'000, 1'000);
    const double begin = cpu_seconds();
    auto pong = coir::spawn([&] {
      for (std::uint64_t i = 0; i < rounds; ++i) back.push(there.pop().value());
    });
    for (std::uint64_t i = 0; i < rounds; ++i) {
      there.push(1);
      (void)back.pop();
      // Half of the time there is nothing to do, as in a server that is not busy.
      if (i % 100 == 0) coir::this_fiber::sleep_for(10us);
    }
    pong.get();
    cpu = cpu_seconds() - begin;
  });
  return cpu * 1e9 / static_cast<double>(s.count_or(100'000, 1'000));
}

}  // namespace

bool measure_balance(const settings& s) {
  bool good = true;
  const auto each = [&](const std::string& name, const std::function<void(const std::string&)>& f) {
    for (const unsigned workers : s.worker_counts())
      good &= in_child(s, [&] {
        raise_descriptor_limit();
        on_workers(s, workers, [&] { f("balance_" + name + "_t" + std::to_string(workers)); });
      });
  };
  const std::uint64_t connections = s.quick ? 20 : 1000;
  each("accepted_by_one",
       [&](const auto& name) { echo_all(name, connections, s.count_or(200'000, 200)); });
  each("burst", [&](const auto& name) { burst(name, s.count_or(100'000, 100)); });
  each("wake_storm", [&](const auto& name) {
    wake_storm(name, connections,
               std::max<std::uint64_t>(s.count_or(200'000, 40) / connections, 2));
  });
  for (const bool one : {false, true})
    for (const unsigned workers : s.worker_counts())
      good &= in_child(s, [&] {
        report(with_workers(one ? "balance_one_processor" : "balance_one_workers_work", workers),
               one_workers_work(s, workers, one), "ns");
      });
  good &= in_child(s, [&] { on_workers(s, 2, [&] { beside_a_hog(s.quick ? 1 : 20); }); });
  return good;
}

}  // namespace bench
