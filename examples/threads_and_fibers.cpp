// A hundred OS threads and then a hundred fibers, each of which sleeps ten times, with both times.
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include <coir/coir.hpp>

using namespace std::chrono_literals;

namespace {

constexpr int how_many = 100, naps = 10;

template <class F>
double milliseconds(F&& f) {
  const auto began = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

void by_threads() {
  std::vector<std::jthread> threads;
  for (int i = 0; i < how_many; ++i)
    threads.emplace_back([] {
      for (int k = 0; k < naps; ++k) std::this_thread::sleep_for(1ms);
    });
}

void by_fibers() {
  coir::task_group fibers;
  for (int i = 0; i < how_many; ++i)
    fibers.spawn([] {
      for (int k = 0; k < naps; ++k) coir::this_fiber::sleep_for(1ms);
    });
  fibers.join();
}

}  // namespace

int main() {
  std::printf("%d threads: %.1f ms\n", how_many, milliseconds(by_threads));
  coir::run([] {
    const double fibers = milliseconds(by_fibers);
    std::printf("%d fibers on %u workers: %.1f ms\n", how_many,
                coir::runtime::current().metrics().workers, fibers);
  });
}
