// Items handed from fiber to fiber.
#include <stdexcept>

#include <coir/sched/task.hpp>
#include <coir/sync/channel.hpp>

#include "process.hpp"
#include "report.hpp"
#include "two_workers.hpp"
#include "workload.hpp"

namespace bench {
namespace {

template <class A, class B>
void where_they_like(A&& a, B&& b) {
  auto first = coir::spawn([&a] { a(); });
  auto second = coir::spawn([&b] { b(); });
  first.get();
  second.get();
}

// Runs the two on one worker, on two that they may choose from, and pinned to one each; f(name,
// run_both) measures.
template <class F>
bool on_one_and_two(const settings& s, const std::string& name, F&& f) {
  bool good = true;
  const auto free = [](auto& a, auto& b) { where_they_like(a, b); };
  const auto pinned = [](auto& a, auto& b) { on_two_workers(a, b); };
  for (const unsigned workers : s.worker_counts()) {
    good &= in_child(s, [&] {
      on_workers(s, workers, [&] { f(workers == 1 ? name : with_workers(name, workers), free); });
    });
    if (workers > 1)
      good &= in_child(s, [&] { on_workers(s, workers, [&] { f(name + "_across", pinned); }); });
  }
  return good;
}

// How the sum of a million leaves comes to the root: from child to parent over the parent's
// channel.
void skynet(coir::channel<std::uint64_t>& to, std::uint64_t first, std::uint64_t leaves) {
  if (leaves == 1) return to.push(first);
  coir::channel<std::uint64_t> sums;
  for (std::uint64_t i = 0; i < 10; ++i)
    coir::spawn([&sums, first, i, leaves] {
      skynet(sums, first + i * leaves / 10, leaves / 10);
    }).detach();
  std::uint64_t sum = 0;
  for (int i = 0; i < 10; ++i) sum += sums.pop().value();
  to.push(sum);
}

}  // namespace

bool measure_channel_ping_pong(const settings& s) {
  const std::uint64_t rounds = s.count_or(2'000'000, 5'000);
  return on_one_and_two(s, "channel_ping_pong", [&](const std::string& name, auto&& run_both) {
    coir::channel<std::uint64_t> there, back;
    const auto ping = [&] {
      for (std::uint64_t i = 0; i < rounds; ++i) {
        there.push(i);
        if (back.pop() != i) throw std::runtime_error("channel_ping_pong: another item came back");
      }
    };
    const auto pong = [&] {
      for (std::uint64_t i = 0; i < rounds; ++i) back.push(there.pop().value());
    };
    const std::uint64_t begin = now_ns();
    run_both(ping, pong);
    report(name, static_cast<double>(now_ns() - begin) / static_cast<double>(rounds), "ns");
  });
}

bool measure_channel_throughput(const settings& s) {
  const std::uint64_t items = s.count_or(20'000'000, 50'000);
  return on_one_and_two(s, "channel_throughput", [&](const std::string& name, auto&& run_both) {
    coir::channel<std::uint64_t> channel(128);
    const auto push = [&] {
      for (std::uint64_t i = 0; i < items; ++i) channel.push(i);
      channel.close();
    };
    const auto pop = [&] {
      std::uint64_t expected = 0;
      for (const std::uint64_t item : channel)
        if (item != expected++) throw std::runtime_error("channel_throughput: an item is missing");
      if (expected != items) throw std::runtime_error("channel_throughput: items are missing");
    };
    const std::uint64_t begin = now_ns();
    run_both(push, pop);
    report(name, static_cast<double>(now_ns() - begin) / static_cast<double>(items), "ns");
  });
}

bool measure_skynet_channels(const settings& s) {
  bool good = true;
  for (const unsigned workers : s.worker_counts())
    good &= in_child(s, [&] {
      const std::uint64_t leaves = s.count_or(1'000'000, 1'000);
      on_workers(s, workers, [&] {
        coir::channel<std::uint64_t> sum;
        const std::uint64_t begin = now_ns();
        auto root = coir::spawn([&] { skynet(sum, 0, leaves); });
        if (sum.pop() != leaves * (leaves - 1) / 2)
          throw std::runtime_error("skynet_channels: a wrong sum");
        report(with_workers("skynet_channels", workers),
               static_cast<double>(now_ns() - begin) / 1e6, "ms");
      });
    });
  return good;
}

}  // namespace bench
