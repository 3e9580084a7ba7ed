// Runs code with its first, its second, ... allocation refused, until none is. Included by the one
// source of a program.
#pragma once
#include <functional>
#include <new>
#include <system_error>

#include "refusing_memory.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {

// What a call that was refused memory may do.
enum class then : std::uint8_t {
  throws,  // it says so
  copes,   // or does without, where that is its promise
};

struct outcome {
  bool threw = false, refused = false;
};

inline outcome run_refusing(int k, const std::function<void()>& f) {
  outcome o;
  allow(k);
  try {
    f();
  } catch (const std::bad_alloc&) {
    o.threw = true;
  } catch (const std::system_error& e) {  // of a task that found no stack
    o.threw = e.code() == std::errc::not_enough_memory;
  }
  o.refused = refusals() != 0;
  allow(-1);
  return o;
}

// Runs f on a fiber of a fresh runtime of one worker, whose every allocation is thus on one thread,
// with the k-th and all later ones refused, for every k until none is. How many that were.
inline int sweep(const std::function<void()>& f, then what = then::throws) {
  const auto unhandled = [](const std::exception_ptr&, std::string_view) {};
  static_cast<void>(sched::current_host());  // a thread's first wait makes it
  options o;
  o.workers = 1;
  o.on_unhandled = unhandled;
  make_runtime(o)->block_on(f);  // what is made once and kept by the process
  for (int k = 0;; ++k) {
    const long before = allocations_alive;
    auto r = make_runtime(o);
    bool same = true;
    const outcome how = r->block_on([&] {
      const outcome first = run_refusing(k, f);
      f();  // nothing that it left stands in the way
      return first;
    });
    EXPECT_TRUE(same &= eventually([&] { return r->metrics().fibers_alive == 0; })) << "k " << k;
    r.reset();
    EXPECT_TRUE(same &= eventually([&] { return allocations_alive == before; }))
        << allocations_alive - before << " allocations are left, k " << k;
    EXPECT_TRUE(same &= what == then::copes || how.threw == how.refused) << "k " << k;
    if (!how.refused || !same) return k;
  }
}

// Unlike EXPECT_THROW it lets std::bad_alloc through.
template <class E, class F>
bool throws(F&& f) {
  try {
    f();
  } catch (const E&) {
    return true;
  }
  return false;
}

}  // namespace coir::testing
