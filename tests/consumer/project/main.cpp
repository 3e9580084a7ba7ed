// Somebody else's program: three fibers, of which the third waits for the other two.
#include <coir/coir.hpp>

#include <cstdio>

int main() {
  const int sum = coir::run([] {
    auto one = coir::spawn([] {
      coir::this_fiber::yield();
      return 1;
    });
    auto two = coir::spawn([](int n) { return n; }, 2);
    auto three = coir::spawn([&] { return one.get() + two.get(); });
    return three.get();
  });
  std::printf("three fibers: %d\n", sum);
  return sum == 3 ? 0 : 1;
}
