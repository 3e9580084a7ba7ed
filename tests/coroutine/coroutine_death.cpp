// Misuse of coroutines stops the process with a message, and an overflow is reported.
#include <coir/sched/task_group.hpp>
#include <coir/sched/timeout.hpp>

#include <memory>

#include "coroutine_fixture.hpp"

namespace coir::testing {
namespace {

class coroutine_death : public ::testing::Test {
 protected:
  coroutine_death() { ::testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};

TEST_F(coroutine_death, a_yield_with_a_scope_open_that_the_body_has_opened) {
  using yield_type = coroutine<void()>::yield_type;
  const auto resumed = [](void (*body)(yield_type&)) {
    make_runtime(2)->block_on([body] { shield([body] { coroutine<void()>(body).resume(); }); });
  };
  const char* const message =
      "coir: a coroutine yielded while a timeout, shield, group or guard that its body had opened "
      "was alive \\(2 open, 1 when it was resumed\\)";
  EXPECT_DEATH(resumed([](yield_type& yield) { with_timeout(1h, [&] { yield(); }); }), message);
  EXPECT_DEATH(resumed([](yield_type& yield) { shield([&] { yield(); }); }), message);
  EXPECT_DEATH(resumed([](yield_type& yield) {
                 task_group children;
                 yield();
               }),
               message);
}

TEST_F(coroutine_death, a_yield_in_a_destructor_of_a_body_that_is_being_closed) {
  struct yields_at_its_end {
    coroutine<void()>::yield_type& yield;
    ~yields_at_its_end() { yield(); }
  };
  EXPECT_DEATH(
      {
        coroutine<void()> co([](auto& yield) {
          yields_at_its_end last{yield};
          yield();
        });
        co.resume();
        co.close();
      },
      "coroutine_closed");
}

TEST_F(coroutine_death, destroyed_by_its_own_body_or_by_one_that_it_has_resumed) {
  EXPECT_DEATH(
      {
        std::unique_ptr<coroutine<void()>> co;
        co = std::make_unique<coroutine<void()>>([&](auto&) { co.reset(); });
        co->resume();
      },
      "coir: a coroutine was destroyed by its own body, or by one that it had resumed");
  EXPECT_DEATH(
      {
        std::unique_ptr<coroutine<void()>> co;
        co = std::make_unique<coroutine<void()>>(
            [&](auto&) { coroutine<void()>([&](auto&) { co.reset(); }).resume(); });
        co->resume();
      },
      "coir: a coroutine was destroyed by its own body, or by one that it had resumed");
}

// What the sanitizers say to it is their own.
[[gnu::noinline]] int without_end(int n) {
  volatile char room[512];
  room[0] = static_cast<char>(n);
  return n < 0 ? 0 : without_end(n + 1) + room[0];
}

TEST_F(coroutine_death, an_overflow_is_reported_with_the_fiber_and_the_remedy) {
  if (sanitized) GTEST_SKIP() << "the sanitizers have handlers of their own";
  EXPECT_DEATH(coroutine<int()>([](auto&) { return without_end(0); }).resume(),
               "coir: stack overflow in a coroutine of a plain thread: its stack has 2[0-9]{5} "
               "bytes; give it more as the second argument");
  EXPECT_DEATH(
      {
        auto r = make_runtime(1);
        r->spawn({.name = "deep"}, [] {
           coroutine<int()>([](auto&) { return without_end(0); }, 32 * 1024).resume();
         }).get();
      },
      "coir: stack overflow in a coroutine of fiber 'deep' \\(id [0-9]+\\): its stack has "
      "2[0-9]{4} "
      "bytes; give it more as the second argument of its coroutine or generator");
  EXPECT_DEATH(
      {
        auto r = make_runtime(1);
        r->spawn({.name = "deep"}, [] {
           coroutine<void()> co([](auto& yield) { yield(); });
           co.resume();
           without_end(0);
         }).get();
      },
      "coir: stack overflow in fiber 'deep' ");
}

}  // namespace
}  // namespace coir::testing
