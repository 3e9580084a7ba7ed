// Fibers that a test switches by hand, and what the tests ask the system about this process.
#pragma once
#include <gtest/gtest.h>
#include <coir/fiber/context.hpp>
#include <coir/fiber/stack.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <utility>

#include "fiber/sanitizers.hpp"

namespace coir::fiber {

inline constexpr bool sanitized = sanitizers::address || sanitizers::thread;

// The calling thread, as something to switch from.
struct host {
  carrier on;
  context self;
  stack header;
  host() {
    on.attach();
    make_thread_context(self, header);
  }
};

// Ended, or never resumed, when it is destroyed.
class hand_fiber {
 public:
  hand_fiber(stack_pool& pool, std::function<void(hand_fiber&)> body, std::size_t size = 256 * 1024)
      : pool_(pool), body_(std::move(body)) {
    std::size_t got = 0;
    stack_ = pool.acquire(stack_pool::rounded(size), 1, got);
    if (stack_ == nullptr) std::abort();
    make_context(self_, *stack_, enter);
    self_.owner = this;
  }
  ~hand_fiber() { pool_.release(stack_); }
  hand_fiber(const hand_fiber&) = delete;
  hand_fiber& operator=(const hand_fiber&) = delete;

  // From a thread, or from another fiber's body: runs until the fiber pauses or ends.
  void resume(carrier& on, context& from) {
    back_ = &from;
    returned_to_ = &switch_context(on, from, self_);
  }
  void resume(host& h) {
    resume(h.on, h.self);
    EXPECT_EQ(returned_to_, &h.on);
  }
  void resume(hand_fiber& from) {
    resume(*from.on_, from.self_);
    from.on_ = returned_to_;
  }

  void pause() { on_ = &switch_context(*on_, self_, *back_); }

  bool ended() const { return ended_; }
  carrier& on() { return *on_; }
  stack& its_stack() { return *stack_; }

 private:
  // Standard layout is not promised of this class, so the way from the context to it is written
  // down.
  struct findable : context {
    hand_fiber* owner = nullptr;
  };
  static void enter(carrier& on, context& self) noexcept {
    hand_fiber& f = *static_cast<findable&>(self).owner;
    f.on_ = &on;
    f.body_(f);
    f.ended_ = true;
    switch_context(*f.on_, f.self_, *f.back_, departure::ended);
  }

  stack_pool& pool_;
  std::function<void(hand_fiber&)> body_;
  findable self_;
  stack* stack_ = nullptr;
  context* back_ = nullptr;
  carrier* on_ = nullptr;
  carrier* returned_to_ = nullptr;
  bool ended_ = false;
};

// errno through functions of their own, as a fiber has to: its address is kept over a switch
// otherwise.
[[gnu::noinline]] inline int read_errno() {
  const int value = errno;
  asm volatile("" : : : "memory");
  return value;
}
[[gnu::noinline]] inline void write_errno(int value) {
  errno = value;
  asm volatile("" : : : "memory");
}

inline long status_kib(const char* field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(field, 0) == 0) return std::atol(line.c_str() + std::strlen(field) + 1);
  return 0;
}

inline long mappings() {
  std::ifstream maps("/proc/self/maps");
  long count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

inline unsigned scale() {
  const char* text = std::getenv("COIR_TEST_SCALE");
  return text != nullptr ? static_cast<unsigned>(std::atoi(text)) : 1;
}

}  // namespace coir::fiber
