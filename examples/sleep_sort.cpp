// Several fibers print, sleep different times, and finish in order of time, all on one worker.
//   sleep_sort 30 10 20
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <coir/coir.hpp>

int main(int argc, char** argv) {
  std::vector<int> times;
  for (int i = 1; i < argc; ++i) times.push_back(std::atoi(argv[i]));
  if (times.empty()) times = {300, 100, 200, 50};

  coir::run({.workers = 1}, [&] {
    std::vector<coir::task<void>> sleepers;
    for (const int ms : times)
      sleepers.push_back(coir::spawn([ms] {
        std::printf("sleeping %d ms\n", ms);
        coir::this_fiber::sleep_for(std::chrono::milliseconds(ms));
        std::printf("slept %d ms\n", ms);
      }));
    for (auto& s : sleepers) s.get();
  });
}
