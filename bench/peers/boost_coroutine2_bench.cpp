// The workload `generator` of coir_bench as Boost.Coroutine2 runs it, under the same names.
#include <boost/coroutine2/all.hpp>
#include <cstdint>
#include <cstdlib>

#include "../flags.hpp"
#include "../process.hpp"
#include "../report.hpp"

namespace {

using namespace bench;
using numbers = boost::coroutines2::coroutine<std::uint64_t>;

double each_value(numbers::pull_type g, std::uint64_t count) {
  const std::uint64_t begin = now_ns();
  std::uint64_t sum = 0;
  for (; g; g()) sum += g.get();
  if (sum != count) std::abort();
  return static_cast<double>(now_ns() - begin) / static_cast<double>(count);
}

// A pull_type runs up to its first value when it is made: it is made before the clock is read.
numbers::pull_type ones(std::uint64_t count) {
  return numbers::pull_type([count](numbers::push_type& yield) {
    for (std::uint64_t n = count; n != 0; --n) yield(1);
  });
}

[[gnu::noinline]] void walk(int levels, numbers::push_type& yield) {
  if (levels == 0) return;
  walk(levels - 1, yield);
  yield(1);
  walk(levels - 1, yield);
}

double each_made(std::uint64_t count) {
  const std::uint64_t begin = now_ns();
  std::uint64_t sum = 0;
  for (std::uint64_t n = count; n != 0; --n)
    for (auto g = ones(1); g; g()) sum += g.get();
  if (sum != count) std::abort();
  return static_cast<double>(now_ns() - begin) / static_cast<double>(count);
}

}  // namespace

int main(int argc, char** argv) {
  const flags given(
      argc, argv, "[generator] [OPTION...]",
      {{"workers", "N", "ignored: there are none"}, {"pin", "", "to the first processor"}});
  for (const std::string& word : given.words())
    if (word != "generator") return 0;  // a workload that it does not have
  if (given.has("pin")) pin_this_thread(0);
  constexpr std::uint64_t count = 50'000'000;
  constexpr int levels = 19;
  report("generator", each_value(ones(count), count), "ns");
  report("generator_tree",
         each_value(numbers::pull_type([](numbers::push_type& yield) { walk(levels, yield); }),
                    (std::uint64_t{1} << levels) - 1),
         "ns");
  report("generator_create", each_made(count / 50), "ns");
}
