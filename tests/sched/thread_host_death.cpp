// A thread's first blocking call makes what it waits with; for want of memory the process stops
// with a message.
#include <coir/sync/event.hpp>

#include <gtest/gtest.h>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {
std::atomic<bool> no_memory{false};
}

[[gnu::noinline]] void* operator new(std::size_t size) {
  if (void* p = no_memory ? nullptr : std::malloc(size)) return p;
  throw std::bad_alloc();
}
// Written out, because a sanitizer's own does not call the one above.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return no_memory ? nullptr : std::malloc(size);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace coir::testing {
namespace {

TEST(thread_host_death, no_memory_for_a_threads_first_blocking_call) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        event never;
        no_memory = true;
        never.wait();
      },
      "coir: there is no memory for the first blocking call of a thread");
}

}  // namespace
}  // namespace coir::testing
