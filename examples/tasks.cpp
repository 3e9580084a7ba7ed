// A task that awaits another, tasks that return results, and who is where in the loop meanwhile.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <vector>

#include <coir/coir.hpp>

using namespace std::chrono_literals;

namespace {

int compute(int x, int y) {
  std::printf("compute %d + %d ...\n", x, y);
  coir::this_fiber::sleep_for(20ms);
  return x + y;
}

void print_sum(int x, int y) {
  auto sum = coir::spawn({.name = "compute"}, compute, x, y);
  std::printf("%d + %d = %d\n", x, y, sum.get());
}

}  // namespace

int main() {
  coir::run({.workers = 2}, [] {
    auto printer = coir::spawn({.name = "print_sum"}, print_sum, 1, 2);
    while (printer.state() != coir::task_state::parked) coir::this_fiber::yield();
    for (const auto& fiber : coir::runtime::current().fibers())
      if (fiber.name == "print_sum")
        std::printf("print_sum waits for a %.4s\n", fiber.waits_for.c_str());
    printer.get();

    std::vector<coir::task<int>> squares;
    for (int i = 1; i <= 3; ++i)
      squares.push_back(coir::spawn([i] {
        coir::this_fiber::sleep_for(std::chrono::milliseconds(160 - 40 * i));
        return i * i;
      }));
    for (auto& square : coir::as_completed(squares)) std::printf("done: %d\n", square.get());
  });
}
