// The coroutine's switch by hand: what it exchanges, what it leaves alone, and what the tools see.
#include <execinfo.h>
#include <unwind.h>
#include <coir/fiber/transfer.hpp>

#include <cfenv>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "hand_fiber.hpp"

namespace coir::fiber {
namespace {

// A body on a stack of its own, and the way back.
class hand_coroutine : context {
 public:
  explicit hand_coroutine(std::function<void(hand_coroutine&)> body, std::size_t reserved = 0)
      : body_(std::move(body)) {
    std::size_t got = 0;
    stack_ = pool_.acquire(stack_pool::rounded(256 * 1024), 1, got);
    if (stack_ == nullptr) std::abort();
    make_transfer_context(*this, *stack_, reserved, &enter);
  }
  ~hand_coroutine() { pool_.release(stack_); }
  hand_coroutine(const hand_coroutine&) = delete;
  hand_coroutine& operator=(const hand_coroutine&) = delete;

  void resume(host& by) {
    carrier_ = &by.on;
    resumer_.on = &by.header;
    transfer(by.on, resumer_, *this);
  }
  void yield() { transfer(*carrier_, *this, resumer_); }
  bool ended() const { return ended_; }
  const stack& its_stack() const { return *stack_; }

 private:
  static void enter(carrier& on, context& self) noexcept {
    auto& c = static_cast<hand_coroutine&>(self);
    EXPECT_EQ(&on, c.carrier_);
    c.body_(c);
    c.ended_ = true;
    transfer_ended(*c.carrier_, c, c.resumer_);
  }

  stack_pool pool_;
  std::function<void(hand_coroutine&)> body_;
  stack* stack_ = nullptr;
  context resumer_;
  carrier* carrier_ = nullptr;
  bool ended_ = false;
};

// Not inlined, so that the arguments live in callee-saved registers over the switch.
[[gnu::noinline]] std::uint64_t mix_over(hand_coroutine& c, std::uint64_t a, std::uint64_t b,
                                         std::uint64_t d, std::uint64_t e, std::uint64_t f) {
  c.yield();
  const std::uint64_t sum = a + 3 * b + 5 * d + 7 * e + 11 * f;
  c.yield();
  return sum ^ (a * b) ^ (d * e) ^ f;
}

TEST(transfer, keeps_the_registers_of_both_sides) {
  host here;
  std::uint64_t result = 0;
  hand_coroutine co([&](hand_coroutine& c) { result = mix_over(c, 3, 5, 7, 11, 13); });
  std::uint64_t own = 1;
  while (!co.ended()) {
    co.resume(here);
    own = own * 31 + 7;
  }
  EXPECT_EQ(result, (3 + 15 + 35 + 77 + 143U) ^ 15U ^ 77U ^ 13U);
  EXPECT_EQ(own, ((31 + 7) * 31 + 7) * 31 + 7U);
}

TEST(transfer, finds_the_stack_aligned_and_below_what_is_reserved) {
  host here;
  for (const std::size_t reserved : {0U, 1U, 8U, 40U, 1000U}) {
    hand_coroutine co(
        [&](hand_coroutine& c) {
          alignas(16) char local[32];
          const auto address = reinterpret_cast<std::uintptr_t>(local);
          EXPECT_EQ(address % 16, 0U);
          const auto top =
              reinterpret_cast<std::uintptr_t>(c.its_stack().limit) + c.its_stack().size - reserved;
          if (!sanitizers::address) {
            EXPECT_LT(address + sizeof local, top);
          }
          std::string by_vector = std::to_string(0.5);  // aligned stores
          EXPECT_EQ(by_vector, "0.500000");
        },
        reserved);
    co.resume(here);
    EXPECT_TRUE(co.ended());
  }
}

TEST(transfer, exchanges_the_exception_state_and_takes_it_to_another_thread) {
  host here;
  hand_coroutine co([](hand_coroutine& c) {
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    EXPECT_EQ(std::current_exception(), nullptr);
    try {
      throw std::string("the coroutine's");
    } catch (const std::string&) {
      c.yield();
      try {
        throw;
      } catch (const std::string& again) {
        EXPECT_EQ(again, "the coroutine's");
      }
    }
    c.yield();
  });
  try {
    throw 1;
  } catch (int) {
    co.resume(here);
    EXPECT_THROW(std::rethrow_exception(std::current_exception()), int);
  }
  EXPECT_EQ(std::current_exception(), nullptr);
  std::thread([&] {
    host there;
    co.resume(there);
    EXPECT_EQ(std::current_exception(), nullptr);
    co.resume(there);
  }).join();
  EXPECT_TRUE(co.ended());
}

TEST(transfer, leaves_errno_to_both_sides) {
  host here;
  hand_coroutine co([](hand_coroutine& c) {
    EXPECT_EQ(read_errno(), 5);
    write_errno(6);
    c.yield();
    EXPECT_EQ(read_errno(), 7);
    write_errno(8);
  });
  write_errno(5);
  co.resume(here);
  EXPECT_EQ(read_errno(), 6);
  write_errno(7);
  co.resume(here);
  EXPECT_EQ(read_errno(), 8);
}

#if defined(__x86_64__) || defined(__aarch64__)
TEST(transfer, leaves_the_rounding_mode_to_both_sides) {
  if (sanitized) GTEST_SKIP() << "the sanitizers' way keeps it for each side";
  host here;
  hand_coroutine co([](hand_coroutine& c) {
    EXPECT_EQ(std::fegetround(), FE_UPWARD);
    std::fesetround(FE_DOWNWARD);
    c.yield();
    EXPECT_EQ(std::fegetround(), FE_TONEAREST);
  });
  std::fesetround(FE_UPWARD);
  co.resume(here);
  EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
  std::fesetround(FE_TONEAREST);
  co.resume(here);
  EXPECT_TRUE(co.ended());
}
#endif

_Unwind_Reason_Code count_frame(_Unwind_Context*, void* count) {
  return ++*static_cast<int*>(count) < 1000 ? _URC_NO_REASON : _URC_NORMAL_STOP;
}

TEST(transfer, a_backtrace_ends_at_the_first_frame) {
  host here;
  int frames = 0;
  int by_glibc = 0;
  _Unwind_Reason_Code end = _URC_NO_REASON;
  hand_coroutine co([&](hand_coroutine& c) {
    c.yield();  // behind a resume, too
    end = _Unwind_Backtrace(count_frame, &frames);
    void* addresses[64];
    by_glibc = ::backtrace(addresses, 64);
  });
  co.resume(here);
  co.resume(here);
  EXPECT_EQ(end, _URC_END_OF_STACK);
  EXPECT_GT(frames, 2);
  EXPECT_LT(frames, 60);
  EXPECT_LT(by_glibc, 64);
}

TEST(transfer, an_exception_passes_through_deep_frames_and_stops_in_the_body) {
  struct tool {
    [[gnu::noinline]] static int down(int depth) {
      if (depth == 0) throw std::runtime_error("deep");
      return down(depth - 1) + depth;
    }
  };
  host here;
  hand_coroutine co([](hand_coroutine& c) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_THROW(tool::down(100), std::runtime_error);
      c.yield();
    }
  });
  while (!co.ended()) co.resume(here);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
}

}  // namespace
}  // namespace coir::fiber
