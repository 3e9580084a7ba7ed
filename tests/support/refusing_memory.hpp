// An operator new that refuses what a test says, and counts what lives. Included by the one source
// of a program.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace coir::testing {

// How many allocations may succeed from now on, negative: all; and how many were refused since
// that was said.
struct memory_limit {
  long allowed = -1;
  long refused = 0;
};
inline std::atomic<long> allowed_everywhere{-1}, refused_everywhere{0};
inline std::atomic<long> allocations_alive{0};

// Not inlined: a fiber may have come to another thread.
[[gnu::noinline]] inline memory_limit& limit_of_this_thread() {
  static thread_local memory_limit mine;
  return mine;
}
// Of this thread.
[[gnu::noinline]] inline void allow(long n) { limit_of_this_thread() = {n, 0}; }
[[gnu::noinline]] inline long refusals() { return limit_of_this_thread().refused; }
// Of all threads together.
inline void allow_everywhere(long n) {
  refused_everywhere = 0;
  allowed_everywhere = n;
}

inline bool memory_is_refused() {
  memory_limit& mine = limit_of_this_thread();
  if (mine.allowed == 0) return ++mine.refused, true;
  if (mine.allowed > 0) --mine.allowed;
  long n = allowed_everywhere.load(std::memory_order_relaxed);
  while (n > 0 && !allowed_everywhere.compare_exchange_weak(n, n - 1)) {}
  if (n == 0) ++refused_everywhere;
  return n == 0;
}

[[gnu::noinline]] inline void* allocate(std::size_t size, std::size_t alignment) {
  if (memory_is_refused()) throw std::bad_alloc();
  void* const p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr) throw std::bad_alloc();
  ++allocations_alive;
  return p;
}
inline void deallocate(void* p) noexcept {
  if (p == nullptr) return;
  --allocations_alive;
  std::free(p);
}

}  // namespace coir::testing

void* operator new(std::size_t size) {
  return coir::testing::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t a) {
  return coir::testing::allocate(size, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { coir::testing::deallocate(p); }
void operator delete(void* p, std::size_t) noexcept { coir::testing::deallocate(p); }
void operator delete(void* p, std::align_val_t) noexcept { coir::testing::deallocate(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  coir::testing::deallocate(p);
}
