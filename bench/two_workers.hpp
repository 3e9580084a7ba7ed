// Two fibers that stay on different workers.
#pragma once
#include <atomic>
#include <thread>

#include <coir/sched/task.hpp>

namespace bench {

// Runs each of the two on a worker of its own, where it stays. A fiber that does not wait keeps its
// worker, so that the other one has to be started elsewhere.
template <class A, class B>
void on_two_workers(A&& a, B&& b) {
  std::atomic<int> there{0};
  const auto occupy = [&there](auto& f) {
    return coir::spawn([&there, &f] {
      ++there;
      while (there.load() < 2) std::this_thread::yield();
      coir::spawn({.name = {}, .stack_size = 0, .pinned = true}, [&f] { f(); }).get();
    });
  };
  auto first = occupy(a);
  auto second = occupy(b);
  first.get();
  second.get();
}

}  // namespace bench
