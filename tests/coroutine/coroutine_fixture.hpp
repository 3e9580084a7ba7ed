// The fixture of what a coroutine promises everywhere: each case on a plain thread without a
// runtime, and on a fiber at each number of workers.
#pragma once
#include <coir/coroutine/coroutine.hpp>
#include <coir/coroutine/generator.hpp>

#include <functional>

#include "runtime_fixture.hpp"

namespace coir::testing {

class anywhere_test : public runtime_test {
 protected:
  void anywhere(const std::function<void()>& f) {
    std::thread(f).join();
    on_fiber([&] { f(); });
  }
};

// Counts those that live.
struct counted {
  explicit counted(int& of) : alive(&of) { ++*alive; }
  counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
  counted(const counted& other) noexcept : alive(other.alive) { ++*alive; }
  counted& operator=(counted&&) = delete;
  ~counted() { --*alive; }
  int* alive;
};

}  // namespace coir::testing
