// What an operation costs among many: fibers that take turns, timers that are set and taken back,
// connections that are asked in turn. scale.py calls these with ten to a million.
#include <algorithm>
#include <array>
#include <stdexcept>
#include <string_view>

#include <coir/coir.hpp>

#include "process.hpp"
#include "report.hpp"
#include "unix_echo.hpp"
#include "workload.hpp"

namespace bench {
namespace {

using namespace std::chrono_literals;

double each(std::uint64_t begin, std::uint64_t count) {
  return static_cast<double>(now_ns() - begin) / static_cast<double>(count);
}

// They are all there before the first turn.
void fibers_take_turns(std::uint64_t many, std::uint64_t count) {
  const std::uint64_t turns = std::max<std::uint64_t>(count / many, 3);
  const std::uint64_t before = memory_now().resident;
  std::uint64_t began = now_ns();
  coir::latch all(static_cast<std::ptrdiff_t>(many) + 1);
  coir::event go;
  std::vector<coir::task<void>> tasks;
  tasks.reserve(many);
  for (std::uint64_t i = 0; i < many; ++i)
    tasks.push_back(coir::spawn([&] {
      all.count_down();
      go.wait();
      for (std::uint64_t t = turns; t != 0; --t) coir::this_fiber::yield();
    }));
  all.arrive_and_wait();
  report("create", each(began, many), "ns");
  report("bytes", static_cast<double>(memory_now().resident - before) / static_cast<double>(many),
         "B");
  began = now_ns();
  go.set();
  for (auto& t : tasks) t.get();
  report("yield", each(began, many * turns), "ns");
}

// A wait with a deadline that does not strike, among many that do not strike either.
void timers(std::uint64_t many, std::uint64_t count) {
  std::vector<coir::timer> others;
  others.reserve(many);
  std::uint64_t state = 1, began = now_ns();
  for (std::uint64_t i = 0; i < many; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    others.push_back(coir::call_later(1h + std::chrono::milliseconds(state >> 42), [] {}));
  }
  report("set", each(began, many), "ns");
  coir::counting_semaphore<> there{0}, back{0};
  auto other = coir::spawn([&] {
    for (std::uint64_t i = 0; i < count; ++i) {
      (void)there.try_acquire_for(30min);
      back.release();
    }
  });
  began = now_ns();
  for (std::uint64_t i = 0; i < count; ++i) {
    there.release();
    (void)back.try_acquire_for(30min);
  }
  report("wait_with_deadline", each(began, 2 * count), "ns");
  other.get();
  began = now_ns();
  for (auto& t : others) t.cancel();
  report("cancel", each(began, many), "ns");
}

// Pairs of sockets; a byte there and back over each in turn, 64 under way.
void connections(std::uint64_t many, std::uint64_t count) {
  const std::uint64_t rounds = std::max<std::uint64_t>(count / many, 1);
  std::uint64_t began = now_ns();
  std::vector<coir::unix_stream> clients;
  coir::task_group servers;
  for (std::uint64_t i = 0; i < many; ++i) {
    auto [here, there] = coir::unix_stream::pair();
    clients.push_back(std::move(here));
    servers.spawn(echo, std::move(there));
  }
  coir::this_fiber::yield();
  report("connect", each(began, many), "ns");
  const std::uint64_t askers = std::min<std::uint64_t>(many, 64);
  const double cpu = cpu_seconds();
  coir::with_group([&](coir::task_group& g) {
    for (std::uint64_t a = 0; a < askers; ++a)
      g.spawn([&, a] {
        std::array<char, 64> buffer;
        for (std::uint64_t r = 0; r < rounds; ++r)
          for (std::uint64_t i = a; i < many; i += askers) {
            clients[i].write(std::string_view("?"));
            if (clients[i].read_some(buffer) != 1)
              throw std::runtime_error("scale: a wrong answer");
          }
      });
  });
  report("request_cpu", (cpu_seconds() - cpu) * 1e9 / static_cast<double>(many * rounds), "ns");
  began = now_ns();
  clients.clear();
  servers.join();
  report("close", each(began, many), "ns");
}

bool on_each(const settings& s, std::uint64_t many, std::uint64_t count,
             void (*f)(std::uint64_t many, std::uint64_t count)) {
  bool good = true;
  for (const unsigned workers : s.worker_counts({1}))
    good &= in_child(s, [&] {
      raise_descriptor_limit();
      on_workers(s, workers, [&] {
        f(s.fibers.value_or(s.quick ? 10 : many), s.count_or(count, count / 100));
      });
    });
  return good;
}

}  // namespace

bool measure_scale_fibers(const settings& s) {
  return on_each(s, 100'000, 2'000'000, &fibers_take_turns);
}
bool measure_scale_timers(const settings& s) { return on_each(s, 100'000, 500'000, &timers); }
bool measure_scale_connections(const settings& s) { return on_each(s, 400, 200'000, &connections); }

}  // namespace bench
