// Values out of a generator: two switches each, and the loop around them.
#include <coir/coroutine/generator.hpp>

#include <stdexcept>

#include "process.hpp"
#include "report.hpp"
#include "workload.hpp"

namespace bench {

namespace {

using numbers = coir::generator<std::uint64_t>;

// ns a value of g, which has that many.
double each_value(numbers g, std::uint64_t count) {
  const std::uint64_t begin = now_ns();
  std::uint64_t seen = 0;
  std::uint64_t sum = 0;
  for (const std::uint64_t v : g) {
    ++seen;
    sum += v;
  }
  const auto spent = static_cast<double>(now_ns() - begin);
  if (seen != count || sum != count) throw std::runtime_error("generator: values are missing");
  return spent / static_cast<double>(count);
}

numbers ones(std::uint64_t count) {
  return numbers([count](auto& yield) {
    for (std::uint64_t n = count; n != 0; --n) yield(1);
  });
}

[[gnu::noinline]] void walk(int levels, numbers::yield_type& yield) {
  if (levels == 0) return;
  walk(levels - 1, yield);
  yield(1);
  walk(levels - 1, yield);
}

double each_made(std::uint64_t count) {
  const std::uint64_t begin = now_ns();
  std::uint64_t sum = 0;
  for (std::uint64_t n = count; n != 0; --n)
    for (const std::uint64_t v : ones(1)) sum += v;
  const auto spent = static_cast<double>(now_ns() - begin);
  if (sum != count) throw std::runtime_error("generator: values are missing");
  return spent / static_cast<double>(count);
}

}  // namespace

bool measure_generator(const settings& s) {
  const std::uint64_t count = s.count_or(50'000'000, 50'000);
  const int levels = s.quick ? 10 : 19;
  bool good = in_child(s, [&] {
    if (s.pin) pin_this_thread(0);
    report("generator", each_value(ones(count), count), "ns");
  });
  if (s.here && s.count) return good;  // for a profiler: the loop alone
  good &= in_child(s, [&] {
    const std::uint64_t nodes = (std::uint64_t{1} << levels) - 1;
    report("generator_tree",
           each_value(numbers([levels](auto& yield) { walk(levels, yield); }), nodes), "ns");
  });
  good &= in_child(s, [&] {
    on_workers(s, 1, [&] { report("generator_fiber", each_value(ones(count), count), "ns"); });
  });
  good &= in_child(s, [&] { report("generator_create", each_made(count / 50), "ns"); });
  return good;
}

}  // namespace bench
