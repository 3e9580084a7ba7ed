#include <coir/fiber/overflow.hpp>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "fiber/stack_guard.hpp"
#include "fiber/stack_slab.hpp"
#include "hand_fiber.hpp"

// Built with -fstack-clash-protection, which is what makes a frame larger than the guard stop at
// it.

namespace coir::fiber {
namespace {

const stack* running = nullptr;

bool probe(overflow_report& of) noexcept {
  of.running = running;
  std::strcpy(of.name, "parser");
  of.id = 42;
  return true;
}

[[gnu::noinline]] int recurse(volatile int* depth) {
  volatile char frame[512];
  for (std::size_t i = 0; i < sizeof frame; i += 64) frame[i] = static_cast<char>(*depth);
  *depth = *depth + 1;
  if (*depth < 0) return 0;
  return recurse(depth) + frame[0];
}

[[gnu::noinline]] void jump() {
  volatile char frame[100 * 1024];
  asm volatile("" : : "r"(&frame[0]) : "memory");  // so that it stays a frame
  frame[0] = 1;
  frame[sizeof frame - 1] = frame[0];
}

void overflow_on_fiber(guard_kind kind, void (*how)()) {
  alternate_signal_stack alternate;
  install_overflow_handler(probe);
  stack_pool_options o;
  o.guard = kind;
  stack_pool pool(o);
  host here;
  // The neighbours below have memory: only the guard lies between.
  hand_fiber below(
      pool, [](hand_fiber&) {}, 64 * 1024);
  hand_fiber f(
      pool, [how](hand_fiber&) { how(); }, 64 * 1024);
  running = &f.its_stack();
  f.resume(here);
}

void deeper_and_deeper() {
  volatile int depth = 0;
  recurse(&depth);
}

constexpr const char* line =
    "coir: stack overflow in fiber 'parser' \\(id 42\\): its stack has [0-9]+ bytes; give it more "
    "with "
    "spawn_options::stack_size or COIR_STACK_SIZE, or use on_big_stack\n";

class overflow_death : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

// F3
TEST_F(overflow_death, a_line_and_then_sigsegv_at_an_installed_guard) {
  if (!can_install_guards()) GTEST_SKIP() << "the kernel has no MADV_GUARD_INSTALL";
  EXPECT_EXIT(overflow_on_fiber(guard_kind::install, deeper_and_deeper),
              testing::KilledBySignal(SIGSEGV), line);
}

TEST_F(overflow_death, a_line_and_then_sigsegv_at_a_protected_guard) {
  EXPECT_EXIT(overflow_on_fiber(guard_kind::protect, deeper_and_deeper),
              testing::KilledBySignal(SIGSEGV), line);
}

// F4
TEST_F(overflow_death, a_frame_larger_than_the_guard_is_stopped_by_stack_clash_protection) {
  if (sanitizers::address) GTEST_SKIP() << "the sanitizer may keep the frame elsewhere";
  EXPECT_EXIT(overflow_on_fiber(guard_kind::automatic, jump), testing::KilledBySignal(SIGSEGV),
              line);
}

#if defined(__x86_64__) || defined(__aarch64__)
// As the frame of a function with a large array, built without that protection.
[[gnu::noinline]] void leap() {
#if defined(__aarch64__)
  asm volatile(
      "mov x9, #0x3000000\n\t"
      "sub sp, sp, x9\n\t"
      "strb wzr, [sp, #64]\n\t"
      "add sp, sp, x9"
      :
      :
      : "x9", "memory");
#else
  asm volatile(
      "subq $0x3000000, %%rsp\n\t"
      "movb $1, 64(%%rsp)\n\t"
      "addq $0x3000000, %%rsp"
      :
      :
      : "memory");
#endif
}

TEST_F(overflow_death, a_frame_far_larger_than_the_guard_is_named_where_nothing_lies_below) {
  EXPECT_EXIT(overflow_on_fiber(guard_kind::automatic, leap), testing::KilledBySignal(SIGSEGV),
              line);
}
#endif

// What lies in the pages of a stack that nobody runs on, shared with the children of a fork, so
// that they can be looked at when a child has died.
class watched_pages {
 public:
  explicit watched_pages(const stack& s) {
    const std::uintptr_t page = page_size();
    const auto low = (reinterpret_cast<std::uintptr_t>(s.limit) + page - 1) & ~(page - 1);
    const auto high = reinterpret_cast<std::uintptr_t>(&s) & ~(page - 1);
    void* const at = reinterpret_cast<void*>(low);
    if (::mmap(at, high - low, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
               0) != at)
      std::abort();
    bytes_ = {static_cast<std::byte*>(at), high - low};
    std::fill(bytes_.begin(), bytes_.end(), pattern);
  }
  bool untouched() const {
    return std::all_of(bytes_.begin(), bytes_.end(), [](std::byte b) { return b == pattern; });
  }

 private:
  static constexpr std::byte pattern{0xa5};
  std::span<std::byte> bytes_;
};

// F3: of the stacks in a slab the one below is next to the guard.
void expect_neighbours_untouched(guard_kind kind, void (*how)()) {
  stack_pool_options o;
  o.guard = kind;
  stack_pool pool(o);
  std::vector<std::unique_ptr<hand_fiber>> all;
  for (int i = 0; i < 3; ++i)
    all.push_back(std::make_unique<hand_fiber>(
        pool, [how](hand_fiber&) { how(); }, 64 * 1024));
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a->its_stack().limit < b->its_stack().limit;
  });
  const watched_pages below(all[0]->its_stack()), above(all[2]->its_stack());
  const pid_t child = ::fork();
  if (child == 0) {
    std::fclose(stderr);
    alternate_signal_stack alternate;
    install_overflow_handler(probe);
    host here;
    running = &all[1]->its_stack();
    all[1]->resume(here);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  EXPECT_TRUE(below.untouched());
  EXPECT_TRUE(above.untouched());
}

TEST_F(overflow_death, alters_no_neighbouring_stack) {
  if (sanitized) GTEST_SKIP() << "a sanitizer keeps frames elsewhere";
  expect_neighbours_untouched(guard_kind::protect, deeper_and_deeper);
  expect_neighbours_untouched(guard_kind::protect, jump);
  if (!can_install_guards()) return;
  expect_neighbours_untouched(guard_kind::install, deeper_and_deeper);
  expect_neighbours_untouched(guard_kind::install, jump);
}

void other_handler(int) {
  std::fputs("the other handler\n", stderr);
  std::_Exit(3);
}

TEST_F(overflow_death, other_faults_reach_the_handler_that_was_there) {
  EXPECT_EXIT(
      {
        std::signal(SIGSEGV, other_handler);
        alternate_signal_stack alternate;
        install_overflow_handler(probe);
        stack_pool pool;
        host here;
        hand_fiber f(
            pool, [](hand_fiber&) { *reinterpret_cast<volatile int*>(std::uintptr_t{4096}) = 1; });
        running = &f.its_stack();
        f.resume(here);
      },
      testing::ExitedWithCode(3), "^the other handler\n");
}

TEST_F(overflow_death, a_fault_outside_a_fiber_dies_of_sigsegv_without_the_line) {
  EXPECT_EXIT(
      {
        std::signal(SIGSEGV, SIG_DFL);
        install_overflow_handler(probe);
        std::raise(SIGSEGV);
      },
      testing::KilledBySignal(SIGSEGV), "^$");
}

TEST(alternate_signal_stack_test, is_there_while_the_object_lives) {
  stack_t before = {};
  ::sigaltstack(nullptr, &before);
  {
    alternate_signal_stack alternate;
    stack_t now = {};
    ::sigaltstack(nullptr, &now);
    EXPECT_EQ(now.ss_flags & SS_DISABLE, 0);
    EXPECT_GE(now.ss_size, std::size_t{8} * 1024);
    alternate_signal_stack second;  // keeps what is there
    stack_t still = {};
    ::sigaltstack(nullptr, &still);
    EXPECT_EQ(still.ss_sp, now.ss_sp);
  }
  stack_t after = {};
  ::sigaltstack(nullptr, &after);
  EXPECT_EQ(after.ss_flags & SS_DISABLE, before.ss_flags & SS_DISABLE);
}

}  // namespace
}  // namespace coir::fiber
