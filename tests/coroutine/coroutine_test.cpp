// What a coroutine gives and takes, and the states it goes through.
#include <array>
#include <atomic>
#include <cstdlib>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "coroutine_fixture.hpp"

namespace {
std::atomic<std::uint64_t> allocated{0};
}  // namespace

#if !defined(COIR_FIBER_TSAN)  // which has its own, and then nothing is counted
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  allocated.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
#endif

namespace coir::testing {
namespace {

std::uint64_t allocations() { return allocated.load(std::memory_order_relaxed); }

class coroutine_test : public anywhere_test {};
INSTANTIATE_TEST_SUITE_P(, coroutine_test, worker_counts(), name_of);

TEST_P(coroutine_test, values_go_both_ways) {
  anywhere([] {
    coroutine<int(std::string)> co([](auto& yield, std::string first) {
      std::string next = yield(static_cast<int>(first.size()));
      while (next != "end") next = yield(static_cast<int>(next.size()));
    });
    EXPECT_EQ(co.resume("three"), 5);
    EXPECT_EQ(co.resume(std::string(1000, 'x')), 1000);
    EXPECT_EQ(co.resume(""), 0);
    EXPECT_EQ(co.resume("end"), std::nullopt);
    EXPECT_EQ(co.status(), coroutine_status::dead);
  });
}

TEST_P(coroutine_test, each_side_may_be_void) {
  anywhere([] {
    int steps = 0;
    coroutine<void()> neither([&](auto& yield) {
      ++steps;
      yield();
      ++steps;
    });
    EXPECT_EQ(steps, 0);
    EXPECT_TRUE(neither.resume());
    EXPECT_EQ(steps, 1);
    EXPECT_FALSE(neither.resume());
    EXPECT_EQ(steps, 2);

    coroutine<int()> gives([](auto& yield) {
      yield(1);
      yield(2);
    });
    EXPECT_EQ(gives.resume(), 1);
    EXPECT_EQ(gives.resume(), 2);
    EXPECT_EQ(gives.resume(), std::nullopt);

    std::vector<int> taken;
    coroutine<void(int)> takes([&](auto& yield, int first) {
      taken.push_back(first);
      taken.push_back(yield());
      taken.push_back(yield());
    });
    EXPECT_TRUE(takes.resume(1));
    EXPECT_TRUE(takes.resume(2));
    EXPECT_FALSE(takes.resume(3));
    EXPECT_EQ(taken, (std::vector{1, 2, 3}));
  });
}

TEST_P(coroutine_test, what_the_body_returns_is_the_last_value) {
  anywhere([] {
    coroutine<std::string(int)> co([](auto& yield, int n) {
      n += yield("one");
      return std::to_string(n);
    });
    EXPECT_EQ(co.resume(20), "one");
    EXPECT_EQ(co.resume(22), "42");
    EXPECT_EQ(co.status(), coroutine_status::dead);
    EXPECT_THROW(co.resume(0), dead_coroutine);
    coroutine<double()> converts([](auto&) { return 1; });
    EXPECT_EQ(converts.resume(), 1.0);
    coroutine<void()> ignores([](auto&) { return 1; });
    EXPECT_FALSE(ignores.resume());
  });
}

TEST_P(coroutine_test, values_may_be_move_only) {
  anywhere([] {
    using box = std::unique_ptr<int>;
    coroutine<box(box)> co([](auto& yield, box b) {
      ++*b;
      b = yield(std::move(b));
      ++*b;
      return b;
    });
    const std::optional<box> first = co.resume(std::make_unique<int>(1));
    EXPECT_EQ(**first, 2);
    EXPECT_EQ(**co.resume(std::make_unique<int>(10)), 11);
    EXPECT_EQ(co.status(), coroutine_status::dead);
  });
}

TEST_P(coroutine_test, an_lvalue_that_is_yielded_is_copied) {
  anywhere([] {
    coroutine<std::string()> co([](auto& yield) {
      const std::string fixed = "fixed, and longer than what fits without the heap";
      std::string mine = fixed;
      yield(mine);
      yield(fixed);
      EXPECT_EQ(mine, fixed);
    });
    const auto first = co.resume();
    EXPECT_EQ(first, co.resume());
    EXPECT_FALSE(co.resume());
  });
}

TEST_P(coroutine_test, the_first_value_may_be_taken_by_reference) {
  anywhere([] {
    coroutine<int(std::string)> co([](auto& yield, const std::string& first) {
      yield(0);
      EXPECT_EQ(first, std::string(100, 'a'));
    });
    co.resume(std::string(100, 'a'));
    EXPECT_FALSE(co.resume(std::string(100, 'b')));
  });
}

TEST_P(coroutine_test, nothing_is_copied_that_can_be_moved_and_nothing_is_left) {
  anywhere([] {
    int alive = 0;
    {
      coroutine<counted(counted)> co([&, captured = counted(alive)](auto& yield, counted c) {
        counted d = yield(std::move(c));
        return d;
      });
      EXPECT_EQ(alive, 1);
      EXPECT_TRUE(co.resume(counted(alive)));
      EXPECT_EQ(alive, 3);  // the captured one; the first value as it was taken, and as c
      EXPECT_TRUE(co.resume(counted(alive)));
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(coroutine_test, it_goes_through_the_states_of_lua) {
  anywhere([] {
    std::vector<coroutine_status> seen;
    coroutine<void()>* outer_is = nullptr;
    coroutine<void()>* inner_is = nullptr;
    coroutine<void()> inner([&](auto& yield) {
      seen.push_back(outer_is->status());
      seen.push_back(inner_is->status());
      yield();
    });
    coroutine<void()> outer([&](auto&) {
      seen.push_back(outer_is->status());
      inner.resume();
      seen.push_back(outer_is->status());
      seen.push_back(inner_is->status());
    });
    outer_is = &outer;
    inner_is = &inner;
    EXPECT_EQ(outer.status(), coroutine_status::suspended);
    outer.resume();
    EXPECT_EQ(outer.status(), coroutine_status::dead);
    EXPECT_EQ(inner.status(), coroutine_status::suspended);
    using enum coroutine_status;
    EXPECT_EQ(seen, (std::vector{running, normal, running, running, suspended}));
  });
}

// F81
TEST_P(coroutine_test, resuming_a_running_a_normal_or_a_dead_one_is_an_error_and_changes_nothing) {
  anywhere([] {
    coroutine<int()>* self = nullptr;
    coroutine<int()> co([&](auto& yield) {
      EXPECT_THROW(self->resume(), std::logic_error);
      EXPECT_EQ(self->status(), coroutine_status::running);
      coroutine<int()> inner([&](auto& inner_yield) {
        EXPECT_THROW(self->resume(), std::logic_error);
        EXPECT_THROW(self->close(), std::logic_error);
        EXPECT_EQ(self->status(), coroutine_status::normal);
        EXPECT_THROW(yield(5), std::logic_error);  // not its own
        inner_yield(1);
      });
      EXPECT_EQ(inner.resume(), 1);
      EXPECT_FALSE(inner.resume());
      EXPECT_THROW(self->close(), std::logic_error);
      yield(2);
    });
    self = &co;
    EXPECT_EQ(co.resume(), 2);
    EXPECT_EQ(co.resume(), std::nullopt);
    for (int again = 0; again < 3; ++again) {
      EXPECT_THROW(co.resume(), dead_coroutine);
      EXPECT_EQ(co.status(), coroutine_status::dead);
    }
    static_assert(std::is_base_of_v<std::logic_error, dead_coroutine>);
  });
}

// F81
TEST_P(coroutine_test, yield_outside_of_its_coroutine_is_an_error) {
  anywhere([] {
    coroutine<void()>::yield_type* kept = nullptr;
    coroutine<void()> co([&](auto& yield) {
      kept = &yield;
      EXPECT_TRUE(std::async(std::launch::async, [&] {
                    EXPECT_THROW(yield(), std::logic_error);
                    return true;
                  }).get());
      yield();
    });
    co.resume();
    EXPECT_THROW((*kept)(), std::logic_error);  // suspended
    EXPECT_EQ(co.status(), coroutine_status::suspended);
    EXPECT_FALSE(co.resume());
    EXPECT_THROW((*kept)(), std::logic_error);  // dead
  });
}

TEST_P(coroutine_test, what_leaves_the_body_is_rethrown_once_and_it_is_dead_then) {
  anywhere([] {
    coroutine<int()> co([](auto& yield) {
      yield(1);
      throw std::runtime_error("left");
    });
    EXPECT_EQ(co.resume(), 1);
    try {
      co.resume();
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "left");
    }
    EXPECT_EQ(co.status(), coroutine_status::dead);
    EXPECT_THROW(co.resume(), dead_coroutine);
    EXPECT_NO_THROW(co.close());

    coroutine<int()> at_once([](auto&) { throw 7; });
    EXPECT_THROW(at_once.resume(), int);
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    EXPECT_EQ(std::current_exception(), nullptr);
  });
}

TEST_P(coroutine_test, it_may_be_moved_while_it_is_suspended_and_while_it_runs) {
  anywhere([] {
    coroutine<int()> first([](auto& yield) {
      for (int i = 0; i < 4; ++i) yield(i);
    });
    EXPECT_EQ(first.resume(), 0);
    coroutine<int()> second = std::move(first);
    EXPECT_EQ(first.status(), coroutine_status::dead);  // NOLINT: what moved-from means is promised
    EXPECT_THROW(first.resume(), dead_coroutine);
    EXPECT_EQ(second.resume(), 1);
    first = std::move(second);
    EXPECT_EQ(first.resume(), 2);

    std::vector<coroutine<int()>> several;
    several.emplace_back([&](auto& yield) {
      coroutine<int()> elsewhere = std::move(several.front());
      several.clear();
      several.push_back(std::move(elsewhere));
      yield(1);
      yield(2);
    });
    coroutine<int()>& it = several.front();
    EXPECT_EQ(it.resume(), 1);
    EXPECT_EQ(several.front().resume(), 2);
  });
}

TEST_P(coroutine_test, an_empty_one_is_dead) {
  anywhere([] {
    coroutine<int()> none;
    EXPECT_EQ(none.status(), coroutine_status::dead);
    EXPECT_THROW(none.resume(), dead_coroutine);
    EXPECT_NO_THROW(none.close());
    none = coroutine<int()>([](auto& yield) { yield(3); });
    EXPECT_EQ(none.resume(), 3);
  });
}

TEST_P(coroutine_test, coroutine_running_says_whether_one_runs) {
  anywhere([] {
    EXPECT_FALSE(coroutine_running());
    coroutine<void()> co([](auto& yield) {
      EXPECT_TRUE(coroutine_running());
      yield();
      EXPECT_TRUE(coroutine_running());
    });
    co.resume();
    EXPECT_FALSE(coroutine_running());
    co.resume();
    EXPECT_FALSE(coroutine_running());
  });
}

TEST_P(coroutine_test, its_stack_has_the_size_that_is_asked_for) {
  struct tool {
    static int use(std::size_t bytes, int depth = 0) {
      volatile char room[1024];
      room[0] = static_cast<char>(depth);
      return bytes < 1200 ? room[0] : use(bytes - 1200, depth + 1) + room[0];
    }
  };
  anywhere([] {
    const std::size_t factor = sanitized ? 4 : 1;  // red zones
    coroutine<int()> big([&](auto&) { return tool::use((1 << 20) / factor); }, 2 << 20);
    EXPECT_TRUE(big.resume());
    coroutine<int()> usual([&](auto&) { return tool::use(200'000 / factor); });
    EXPECT_TRUE(usual.resume());
    std::array<char, 100'000> large{};
    large[5] = 5;
    coroutine<int()> captures([large](auto& yield) { yield(large[5]); }, 16 * 1024);
    EXPECT_EQ(captures.resume(), 5);
    EXPECT_THROW(coroutine<void()>([](auto&) {}, std::size_t{1} << 60), std::invalid_argument);
  });
}

TEST_P(coroutine_test, a_body_that_cannot_be_copied_leaves_nothing) {
  struct refuses {
    explicit refuses(counted c) : inside(std::move(c)) {}
    refuses(const refuses& other) : inside(other.inside) { throw std::runtime_error("no copy"); }
    void operator()(coroutine<void()>::yield_type&) const {}
    counted inside;
  };
  anywhere([] {
    int alive = 0;
    {
      const refuses body{counted(alive)};
      EXPECT_THROW(coroutine<void()>{body}, std::runtime_error);
    }
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(coroutine_test, making_and_using_one_takes_nothing_from_the_heap) {
  anywhere([] {
    coroutine<long(long)>([](auto&, long) {}).resume(1);  // the thread's share is made
    const std::uint64_t before = allocations();
    for (int i = 0; i < 100; ++i) {
      coroutine<long(long)> co([a = i, b = i, c = i](auto& yield, long n) {
        for (;;) n = yield(n + a + b + c);
      });
      for (long n = 0; n < 10; ++n) EXPECT_EQ(co.resume(n), n + 3L * i);
    }
    EXPECT_EQ(allocations(), before);
  });
}

}  // namespace
}  // namespace coir::testing
