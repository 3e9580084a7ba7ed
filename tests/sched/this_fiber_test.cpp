// What a fiber asks of itself, and how it sleeps.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <set>
#include <sstream>
#include <unordered_set>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class this_fiber_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, this_fiber_test, every_setting(), name_of);

TEST_P(this_fiber_test, outside_of_a_fiber_there_is_no_id_no_name_and_no_request) {
  EXPECT_EQ(this_fiber::id(), fiber_id{});
  EXPECT_FALSE(bool(this_fiber::id()));
  EXPECT_TRUE(this_fiber::name().empty());
  this_fiber::set_name("nobody");
  EXPECT_TRUE(this_fiber::name().empty());
  EXPECT_FALSE(this_fiber::cancel_requested());
  EXPECT_FALSE(this_fiber::uncancel());
  this_fiber::check_cancelled();
  EXPECT_EQ(this_fiber::stack_used(), 0U);
  EXPECT_EQ(this_fiber::stack_size(), 0U);
  this_fiber::yield();
  const auto start = clock::now();
  this_fiber::sleep_for(2ms);
  EXPECT_GE(clock::now() - start, 2ms);
  this_fiber::sleep_until(start);
}

TEST_P(this_fiber_test, ids_are_unique_among_all_fibers_of_a_runtime) {
  std::set<std::uint64_t> seen;
  std::mutex lock;
  const auto note = [&](fiber_id id) {
    EXPECT_TRUE(bool(id));
    std::lock_guard hold(lock);
    EXPECT_TRUE(seen.insert(id.value()).second) << "twice: " << id.value();
  };
  on_fiber([&] {
    for (int round = 0; round < 20; ++round) {  // records are used again
      std::vector<task<void>> all;
      for (int i = 0; i < 50; ++i) all.push_back(spawn([&] { note(this_fiber::id()); }));
      for (auto& t : all) t.get();
    }
    auto t = spawn([] { return this_fiber::id(); });
    const fiber_id told = t.id();
    EXPECT_EQ(t.get(), told);
  });
  EXPECT_EQ(seen.size(), 1000U);
}

TEST_P(this_fiber_test, ids_are_printed_compared_and_hashed_as_those_of_threads) {
  on_fiber([] {
    std::ostringstream narrow;
    std::wostringstream wide;
    narrow << this_fiber::id();
    wide << this_fiber::id();
    EXPECT_EQ(narrow.str(), to_string(this_fiber::id()));
    EXPECT_EQ(wide.str(), std::to_wstring(this_fiber::id().value()));
    EXPECT_LT(fiber_id(), this_fiber::id());
    EXPECT_EQ(std::unordered_set<fiber_id>{this_fiber::id()}.count(this_fiber::id()), 1U);
  });
}

TEST_P(this_fiber_test, names_are_given_changed_and_shown) {
  on_fiber([] {
    auto named = spawn({.name = "first", .stack_size = 0, .pinned = false}, [] {
      EXPECT_EQ(this_fiber::name(), "first");
      this_fiber::set_name(std::string(100, 'x'));
      EXPECT_EQ(this_fiber::name().size(), 100U);
      this_fiber::yield();
      EXPECT_EQ(this_fiber::name(), std::string(100, 'x'));
    });
    named.wait();
    EXPECT_EQ(named.name(), std::string(100, 'x'));
    named.get();
    auto plain = spawn([] { EXPECT_TRUE(this_fiber::name().empty()); });
    EXPECT_TRUE(plain.name().empty());
    plain.get();
  });
}

TEST_P(this_fiber_test, a_sleep_is_never_early) {
  on_fiber([] {
    std::vector<task<void>> all;
    for (int i = 0; i < 60; ++i)
      all.push_back(spawn([i] {
        for (int k = 0; k < 3; ++k) {
          const auto wanted = std::chrono::microseconds(37 * i + 100 * k);
          const auto start = clock::now();
          this_fiber::sleep_for(wanted);
          EXPECT_GE(clock::now() - start, wanted);
          const auto at = clock::now() + wanted;
          this_fiber::sleep_until(at);
          EXPECT_GE(clock::now(), at);
        }
      }));
    for (auto& t : all) t.get();
  });
}

TEST_P(this_fiber_test, sleepers_wake_in_the_order_of_their_deadlines) {
  if (workers() != 1) GTEST_SKIP() << "an order of one worker";
  std::vector<int> order;
  on_fiber([&] {
    std::vector<task<void>> all;
    const auto base = clock::now() + (sanitized ? 300ms : 30ms);  // all are asleep by then
    for (int i = 0; i < 200; ++i)
      all.push_back(spawn([&, i] {
        // Equal deadlines: in the order in which they were set.
        this_fiber::sleep_until(base + 1ms * ((i * 7919) % 5));
        order.push_back(((i * 7919) % 5) * 1000 + i);
      }));
    for (auto& t : all) t.get();
  });
  EXPECT_EQ(order.size(), 200U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST_P(this_fiber_test, sleeps_of_nothing_yield) {
  if (workers() != 1) GTEST_SKIP() << "an order of one worker";
  on_fiber([] {
    std::vector<int> order;
    auto other = spawn([&] { order.push_back(1); });
    this_fiber::sleep_for(0s);
    order.push_back(2);
    auto another = spawn([&] { order.push_back(3); });
    this_fiber::sleep_for(-1h);
    order.push_back(4);
    auto third = spawn([&] { order.push_back(5); });
    this_fiber::sleep_until(clock::time_point::min());
    order.push_back(6);
    EXPECT_EQ(order, (std::vector{1, 2, 3, 4, 5, 6}));
  });
}

// F35
TEST_P(this_fiber_test, durations_of_every_kind_are_dealt_with) {
  using seconds = std::chrono::duration<double>;
  using float_years = std::chrono::duration<float, std::ratio<31556952>>;
  on_fiber([] {
    this_fiber::sleep_for(std::chrono::duration<int, std::pico>(1));
    this_fiber::sleep_for(seconds(1e-4));
    this_fiber::sleep_for(seconds(-std::numeric_limits<double>::infinity()));
    this_fiber::sleep_for(std::chrono::nanoseconds::min());
    this_fiber::sleep_for(std::chrono::hours::min());
    EXPECT_THROW(this_fiber::sleep_for(seconds(std::nan(""))), std::invalid_argument);
    EXPECT_THROW(this_fiber::sleep_for(float_years(std::nanf(""))), std::invalid_argument);
    const auto for_ever = [](auto d) {
      auto t = spawn([d] { this_fiber::sleep_for(d); });
      EXPECT_FALSE(t.wait_for(1ms)) << "too long is never";
      t.cancel();
      EXPECT_THROW(t.get(), cancelled);
    };
    for_ever(std::chrono::nanoseconds::max());
    for_ever(std::chrono::hours::max());
    for_ever(seconds(std::numeric_limits<double>::infinity()));
    for_ever(seconds(1e300));
    for_ever(float_years(1e9F));
    auto t = spawn([] { this_fiber::sleep_until(clock::time_point::max()); });
    EXPECT_FALSE(t.wait_for(1ms));
  });
}

TEST_P(this_fiber_test, a_yield_lets_every_ready_fiber_of_the_worker_run_first) {
  if (workers() != 1) GTEST_SKIP() << "an order of one worker";
  on_fiber([] {
    int ran = 0;
    std::vector<task<void>> all;
    for (int i = 0; i < 100; ++i) all.push_back(spawn([&] { ++ran; }));
    this_fiber::yield();
    EXPECT_EQ(ran, 100);
  });
}

// F26
TEST_P(this_fiber_test, a_task_that_always_spawns_its_successor_does_not_starve_a_sibling) {
  on_fiber([&] {
    std::atomic<bool> sibling_ran{false};
    std::atomic<int> generations{0};
    event ended;
    struct respawn {
      std::atomic<bool>& until;
      std::atomic<int>& count;
      event& last;
      void operator()() const {
        ++count;
        if (until)
          last.set();
        else
          spawn(respawn{until, count, last}).detach();
      }
    };
    spawn(respawn{sibling_ran, generations, ended}).detach();
    auto sibling = spawn([&] {
      this_fiber::yield();
      sibling_ran = true;
    });
    EXPECT_TRUE(sibling.wait_for(5s));
    ended.wait();
    EXPECT_GT(generations.load(), 0);
  });
}

TEST_P(this_fiber_test, two_fibers_that_always_wake_each_other_do_not_starve_a_sibling) {
  // F26: the run-next slot may pass the queue a bounded number of times in a row.
  on_fiber([&] {
    bool end = false, sibling_ran = false;
    event ping, pong;
    set_pinned(true);
    const spawn_options here_only{.name = "", .stack_size = 0, .pinned = true};
    auto first = spawn(here_only, [&] {
      while (!end) {
        ping.set();
        pong.wait();
        pong.reset();
      }
      ping.set();
    });
    auto second = spawn(here_only, [&] {
      while (!end) {
        ping.wait();
        ping.reset();
        pong.set();
      }
      pong.set();
    });
    auto sibling = spawn(here_only, [&] {
      this_fiber::yield();
      sibling_ran = true;
    });
    EXPECT_TRUE(sibling.wait_for(5s));
    EXPECT_TRUE(sibling_ran);
    end = true;
    first.wait();
    second.wait();
  });
}

[[gnu::noinline]] std::size_t use_50_kilobytes() {
  volatile char room[50'000];
  asm volatile("" : : "r"(room) : "memory");  // in one piece: clang takes it apart otherwise
  for (std::size_t i = 0; i < sizeof room; i += 512) room[i] = 1;
  return sizeof room;
}

TEST_P(this_fiber_test, the_high_water_mark_of_a_stack_is_measured_on_request) {
  opts.measure_stacks = true;
  on_fiber([] {
    auto t = spawn([] {
      const std::size_t before = this_fiber::stack_used();
      use_50_kilobytes();
      return this_fiber::stack_used() - before;
    });
    EXPECT_GE(t.get(), sanitized ? 0U : 40'000U);  // a sanitizer's frames lie elsewhere
  });
}

}  // namespace
}  // namespace coir::testing
