#include <execinfo.h>
#include <unwind.h>

#include <cerrno>
#include <cfenv>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

// Not inlined, so that the arguments live in callee-saved registers over the switch, and not in the
// test's frame.
[[gnu::noinline]] std::uint64_t mix_over(hand_fiber& f, std::uint64_t a, std::uint64_t b,
                                         std::uint64_t c, std::uint64_t d, std::uint64_t e) {
  f.pause();
  const std::uint64_t sum = a + 3 * b + 5 * c + 7 * d + 11 * e;
  f.pause();
  return sum ^ (a * b) ^ (c * d) ^ e;
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d,
                    std::uint64_t e) {
  return (a + 3 * b + 5 * c + 7 * d + 11 * e) ^ (a * b) ^ (c * d) ^ e;
}

TEST(switch_context, keeps_the_registers_of_each_side) {
  stack_pool pool;
  host here;
  std::vector<std::unique_ptr<hand_fiber>> fibers;
  std::vector<std::uint64_t> results(8);
  for (std::uint64_t i = 0; i < results.size(); ++i)
    fibers.push_back(std::make_unique<hand_fiber>(pool, [&results, i](hand_fiber& f) {
      results[i] = mix_over(f, i + 1, i * 1000003, i ^ 0xdeadbeef, ~i, i << 40);
    }));
  std::uint64_t own = 1;
  for (int round = 0; round < 3; ++round)
    for (auto& f : fibers) {
      f->resume(here);
      own = own * 31 + 7;
    }
  for (std::uint64_t i = 0; i < results.size(); ++i) {
    EXPECT_TRUE(fibers[i]->ended());
    EXPECT_EQ(results[i], mixed(i + 1, i * 1000003, i ^ 0xdeadbeef, ~i, i << 40));
  }
  std::uint64_t expected = 1;
  for (int i = 0; i < 24; ++i) expected = expected * 31 + 7;
  EXPECT_EQ(own, expected);
}

TEST(switch_context, returns_the_carrier_of_the_thread_that_resumed) {
  stack_pool pool;
  host here;
  std::vector<carrier*> seen;
  hand_fiber f(pool, [&](hand_fiber& self) {
    seen.push_back(&self.on());
    self.pause();
    seen.push_back(&self.on());
  });
  f.resume(here);
  carrier* other = nullptr;
  std::thread([&] {
    host there;
    other = &there.on;
    f.resume(there);
  }).join();
  EXPECT_TRUE(f.ended());
  EXPECT_EQ(seen, (std::vector<carrier*>{&here.on, other}));
}

TEST(switch_context, keeps_errno_for_each_fiber) {
  stack_pool pool;
  host here;
  int at_start = -1;
  int after_pause = -1;
  hand_fiber f(pool, [&](hand_fiber& self) {
    at_start = read_errno();
    write_errno(EDOM);
    self.pause();
    after_pause = read_errno();
  });
  errno = ERANGE;
  f.resume(here);
  EXPECT_EQ(errno, ERANGE);
  std::thread([&] {
    host there;
    errno = EBADF;
    f.resume(there);
    EXPECT_EQ(errno, EBADF);
  }).join();
  EXPECT_EQ(at_start, 0);
  EXPECT_EQ(after_pause, EDOM);
  EXPECT_EQ(errno, ERANGE);
}

TEST(switch_context, keeps_the_floating_point_control_words) {
  stack_pool pool;
  host here;
  const auto rounded_down = [] {
    volatile double one = 1;
    volatile double three = 3;
    return one / three * three < 1 || std::fegetround() == FE_DOWNWARD;
  };
  hand_fiber down(pool, [&](hand_fiber& self) {
    std::fesetround(FE_DOWNWARD);
    self.pause();
    EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
    EXPECT_TRUE(rounded_down());
    hand_fiber child(pool, [](hand_fiber&) { EXPECT_EQ(std::fegetround(), FE_TONEAREST); });
    child.resume(self);
    EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
  });
  down.resume(here);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  down.resume(here);
  EXPECT_TRUE(down.ended());
  EXPECT_EQ(std::fegetround(), FE_TONEAREST);
}

TEST(switch_context, lets_fibers_parked_in_a_handler_rethrow_each_its_own) {
  stack_pool pool;
  const auto body = [](std::string text, std::string& into) {
    return [text = std::move(text), &into](hand_fiber& self) {
      try {
        try {
          throw std::runtime_error(text);
        } catch (...) {
          self.pause();
          throw;
        }
      } catch (std::exception& e) {
        self.pause();
        into = e.what();
      }
    };
  };
  std::string of_a, of_b;
  hand_fiber a(pool, body("a's", of_a));
  hand_fiber b(pool, body("b's", of_b));
  {
    host here;
    a.resume(here);
    b.resume(here);
    EXPECT_EQ(std::current_exception(), nullptr);
  }
  std::thread([&] {
    host there;
    a.resume(there);  // rethrows on another thread
    EXPECT_EQ(std::current_exception(), nullptr);
  }).join();
  host here;
  b.resume(here);
  std::thread([&] {
    host there;
    b.resume(there);
  }).join();
  a.resume(here);
  EXPECT_TRUE(a.ended() && b.ended());
  EXPECT_EQ(of_a, "a's");
  EXPECT_EQ(of_b, "b's");
}

TEST(switch_context, keeps_nested_exceptions) {
  stack_pool pool;
  host here;
  std::string trace;
  const auto body = [&trace](const char* name) {
    return [&trace, name](hand_fiber& self) {
      try {
        throw std::runtime_error(std::string(name) + " outer");
      } catch (std::exception& outer) {
        self.pause();
        try {
          throw std::logic_error(std::string(name) + " inner");
        } catch (std::exception& inner) {
          self.pause();
          trace += inner.what();
          trace += ';';
        }
        self.pause();
        trace += outer.what();
        trace += ';';
      }
    };
  };
  hand_fiber a(pool, body("a"));
  hand_fiber b(pool, body("b"));
  while (!a.ended()) {
    a.resume(here);
    b.resume(here);
  }
  EXPECT_TRUE(b.ended());
  EXPECT_EQ(trace, "a inner;b inner;a outer;b outer;");
}

struct pauses_when_destroyed {
  hand_fiber& f;
  int& uncaught_before;
  int& uncaught_after;
  ~pauses_when_destroyed() {
    uncaught_before = std::uncaught_exceptions();
    f.pause();
    uncaught_after = std::uncaught_exceptions();
  }
};

TEST(switch_context, counts_uncaught_exceptions_for_each_fiber) {
  stack_pool pool;
  host here;
  int before = -1;
  int after = -1;
  hand_fiber f(pool, [&](hand_fiber& self) {
    try {
      const pauses_when_destroyed p{self, before, after};
      throw 1;
    } catch (int) {}
  });
  f.resume(here);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
  f.resume(here);
  EXPECT_TRUE(f.ended());
  EXPECT_EQ(before, 1);
  EXPECT_EQ(after, 1);
}

TEST(switch_context, starts_a_fiber_with_no_exception_in_flight) {
  stack_pool pool;
  host here;
  bool clean = false;
  hand_fiber f(pool, [&](hand_fiber&) { clean = std::current_exception() == nullptr; });
  try {
    throw 1;
  } catch (int) {
    f.resume(here);
    EXPECT_NE(std::current_exception(), nullptr);
  }
  EXPECT_TRUE(clean);
}

TEST(switch_context, nests_fibers_that_resume_fibers) {
  stack_pool pool;
  host here;
  std::vector<int> order;
  hand_fiber outer(pool, [&](hand_fiber& self) {
    hand_fiber inner(pool, [&](hand_fiber& i) {
      order.push_back(2);
      i.pause();
      order.push_back(4);
    });
    order.push_back(1);
    inner.resume(self);
    order.push_back(3);
    self.pause();
    inner.resume(self);
    order.push_back(5);
  });
  outer.resume(here);
  outer.resume(here);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST(first_entry, finds_the_stack_aligned_and_within_its_bounds) {
  stack_pool pool;
  host here;
  hand_fiber f(pool, [](hand_fiber& self) {
    alignas(16) volatile char local[32] = {};
    const auto at = reinterpret_cast<std::uintptr_t>(&local[0]);
    EXPECT_EQ(at % 16, 0U);
    const std::size_t used = stack_used_now(self.its_stack());
    EXPECT_GT(used, 0U);
    EXPECT_LT(used, std::size_t{16} * 1024);
  });
  f.resume(here);
  EXPECT_TRUE(f.ended());
  EXPECT_EQ(stack_used_now(f.its_stack()), 0U) << "not the running stack";
  EXPECT_GT(stack_used_now(here.header), 0U);
}

// Exceptions, and what the unwinder says at the end of a fiber's stack.

struct walk {
  int frames = 0;
};

_Unwind_Reason_Code count_frame(_Unwind_Context*, void* arg) {
  return ++static_cast<walk*>(arg)->frames < 1000 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

[[gnu::noinline]] int frames_here(_Unwind_Reason_Code& end) {
  walk w;
  end = _Unwind_Backtrace(count_frame, &w);
  return w.frames;
}

TEST(unwinding, ends_cleanly_at_the_first_frame_of_a_fiber) {
  stack_pool pool;
  host here;
  int frames = 0;
  int by_glibc = 0;
  _Unwind_Reason_Code end = _URC_NO_REASON;
  hand_fiber f(pool, [&](hand_fiber& self) {
    self.pause();
    frames = frames_here(end);
    void* addresses[256];
    by_glibc = ::backtrace(addresses, 256);
  });
  f.resume(here);
  f.resume(here);
  EXPECT_EQ(end, _URC_END_OF_STACK);
  EXPECT_GT(frames, 3);
  EXPECT_LT(frames, 40);
  EXPECT_GT(by_glibc, 2);
  EXPECT_LT(by_glibc, 40);
}

[[gnu::noinline]] int throw_from(int depth) {
  if (depth == 0) throw std::runtime_error("deep");
  return throw_from(depth - 1) + 1;
}

TEST(unwinding, passes_exceptions_through_deep_frames) {
  stack_pool pool;
  host here;
  int caught = 0;
  hand_fiber f(pool, [&](hand_fiber& self) {
    for (int i = 0; i < 3; ++i) {
      try {
        throw_from(50);
      } catch (std::exception&) {
        ++caught;
        self.pause();
      }
    }
  });
  while (!f.ended()) f.resume(here);
  EXPECT_EQ(caught, 3);
}

TEST(stacks, are_entered_again_and_again) {
  stack_pool pool;
  host here;
  std::size_t runs = 0;
  const unsigned rounds = sanitized ? 20'000 : 200'000;
  for (unsigned i = 0; i < rounds; ++i) {
    hand_fiber f(
        pool,
        [&](hand_fiber& self) {
          ++runs;
          self.pause();
        },
        64 * 1024);
    f.resume(here);
    f.resume(here);
  }
  EXPECT_EQ(runs, rounds);
}

[[gnu::noinline]] void go_deep() {
  volatile char deep[20'000];
  for (std::size_t i = 0; i < sizeof deep; i += 8) deep[i] = 1;
  EXPECT_EQ(deep[0], 1);
}

TEST(painting, finds_how_deep_a_stack_has_been) {
  stack_pool pool;
  host here;
  hand_fiber f(pool, [](hand_fiber& self) {
    self.pause();
    go_deep();
    self.pause();
  });
  paint(f.its_stack());
  EXPECT_LE(painted_high_water(f.its_stack()), 256U);
  f.resume(here);
  const std::size_t shallow = painted_high_water(f.its_stack());
  EXPECT_LT(shallow, 16'000U);
  f.resume(here);
  if (!sanitizers::address) {  // which may keep the array elsewhere
    EXPECT_GT(painted_high_water(f.its_stack()), 20'000U);
    EXPECT_LT(painted_high_water(f.its_stack()), 20'000U + shallow + 4096);
  }
  f.resume(here);
}

}  // namespace
}  // namespace coir::fiber
