// Buffers that are few: connections share two, or the application keeps them all.
#include <fstream>

#include <sys/resource.h>

#include <coir/sync/work_queue.hpp>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class buffers_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, buffers_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

constexpr std::size_t buffer_size = 4096;

double cpu_seconds() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  const auto s = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return s(u.ru_utime) + s(u.ru_stime);
}
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

using buffers = work_queue<std::unique_ptr<char[]>>;
void put_two(buffers& free) {
  for (int i = 0; i < 2; ++i) free.put(std::make_unique<char[]>(buffer_size));
}

// Reads to the end, with a buffer only while there is something to read; how much it was.
std::size_t drain(unix_stream& from, buffers& free) {
  std::size_t all = 0;
  for (;;) {
    wait_readable(from.native_handle());
    auto buffer = free.get();
    const std::size_t n = from.read_some(std::span(buffer.get(), buffer_size));
    free.put(std::move(buffer));
    if (n == 0) return all;
    all += n;
  }
}

// F48.
TEST_P(buffers_test, a_hundred_connections_share_two_buffers_and_nobody_spins) {
  on_fiber([] {
    constexpr std::size_t connections = 100, each = 100'000;
    buffers free;
    put_two(free);
    event go;
    std::vector<task<void>> writers;
    std::vector<task<std::size_t>> readers;
    for (std::size_t i = 0; i < connections; ++i) {
      auto [a, b] = unix_stream::pair();
      readers.push_back(spawn([&free, s = std::move(b)]() mutable { return drain(s, free); }));
      writers.push_back(spawn([&go, s = std::move(a)]() mutable {
        go.wait();
        s.write(std::string(each, 'x'));
      }));
    }
    for (auto& r : readers) await_parked(r);
    const double before = cpu_seconds();
    const auto quiet = std::chrono::milliseconds(300);
    this_fiber::sleep_for(quiet);
    EXPECT_LT(cpu_seconds() - before, 0.25) << "who has nothing to read keeps a processor busy";
    go.set();
    for (auto& w : writers) w.get();
    for (auto& r : readers) EXPECT_EQ(r.get(), each);
  });
}

// F49.
TEST_P(buffers_test, an_application_that_keeps_all_its_buffers_holds_up_nobody_else) {
  on_fiber([] {
    constexpr std::size_t connections = 20, each = 4 << 20;
    buffers free;
    put_two(free);
    auto kept = free.get(), also_kept = free.get();
    std::vector<task<void>> writers;
    std::vector<task<std::size_t>> readers;
    const std::string much(each, 'x');
    for (std::size_t i = 0; i < connections; ++i) {
      auto [a, b] = unix_stream::pair();
      readers.push_back(spawn([&free, s = std::move(b)]() mutable { return drain(s, free); }));
      writers.push_back(spawn([&much, s = std::move(a)]() mutable { s.write(much); }));
    }
    for (auto& w : writers) await_parked(w);
    const std::size_t memory = resident_bytes();
    auto [a, b] = unix_stream::pair();  // others have theirs
    auto echo = spawn([&b = b] {
      for (char c; b.read_some({&c, 1}) != 0;) b.write({&c, 1});
    });
    for (int i = 0; i < 1000; ++i) {
      char c = 'e';
      a.write({&c, 1});
      a.read_exactly({&c, 1});
    }
    a.shutdown_write();
    echo.get();
    for (auto& r : readers) EXPECT_FALSE(r.done());
    if (!sanitized) {
      EXPECT_LT(resident_bytes(), memory + (4 << 20)) << "what nobody reads is kept here";
    }
    free.put(std::move(kept));
    free.put(std::move(also_kept));
    for (auto& w : writers) w.get();
    for (auto& r : readers) EXPECT_EQ(r.get(), each);
  });
}

}  // namespace
}  // namespace coir::testing
