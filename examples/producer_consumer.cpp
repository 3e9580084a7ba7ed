// Producer, filter and consumer, each in its own loop, connected by coroutines: the consumer asks,
// and the values come through. The producer waits for each; meanwhile the fiber of the clock runs.
//   producer_consumer
#include <chrono>
#include <iostream>
#include <string>
#include <utility>

#include <coir/coir.hpp>

namespace {

using namespace std::chrono_literals;
using lines = coir::generator<std::string>;

lines produce() {
  return lines([](auto& yield) {
    for (const char* text : {"one", "two", "three"}) {
      coir::this_fiber::sleep_for(20ms);  // the fiber that iterates waits
      yield(text);
    }
  });
}

lines number(lines from) {
  return lines([from = std::move(from)](auto& yield) mutable {
    int n = 0;
    for (const std::string& line : from) yield(std::to_string(++n) + ": " + line);
  });
}

}  // namespace

int main() {
  coir::run([] {
    int ticks = 0;
    auto clock = coir::spawn([&] {
      for (;;) {
        coir::this_fiber::sleep_for(1ms);
        ++ticks;
      }
    });
    for (const std::string& line : number(produce())) std::cout << line << '\n';
    clock.cancel();
    clock.wait();
    std::cout << (ticks > 0 ? "the clock ticked meanwhile\n" : "the clock stood still\n");
  });
}
