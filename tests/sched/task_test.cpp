// spawn, task and its joins: between fibers, and from plain threads.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <future>
#include <system_error>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class task_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, task_test, every_setting(), name_of);

std::future_errc code_of(const std::future_error& e) {
  return static_cast<std::future_errc>(e.code().value());
}
template <class F>
void expect_future_error(std::future_errc expected, F&& f) {
  try {
    f();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::future_error& e) {
    EXPECT_EQ(code_of(e), expected) << e.what();
  }
}

TEST_P(task_test, a_task_runs_and_its_value_comes_out_of_get) {
  EXPECT_EQ(on_fiber([] { return spawn([] { return 7; }).get(); }), 7);
  auto t = rt().spawn([] { return 8; });
  EXPECT_TRUE(t.valid());
  EXPECT_TRUE(bool(t.id()));
  EXPECT_EQ(t.get(), 8);
}

TEST_P(task_test, thousands_of_tasks_each_run_once) {
  std::atomic<int> ran{0};
  on_fiber([&] {
    std::vector<task<int>> all;
    for (int i = 0; i < 2000; ++i)
      all.push_back(spawn([&, i] {
        ++ran;
        return i;
      }));
    for (int i = 0; i < 2000; ++i) ASSERT_EQ(all[std::size_t(i)].get(), i);
  });
  EXPECT_EQ(ran.load(), 2000);
}

TEST_P(task_test, get_twice_is_a_future_error) {
  auto value = rt().spawn([] { return 1; });
  EXPECT_EQ(value.get(), 1);
  expect_future_error(std::future_errc::future_already_retrieved, [&] { value.get(); });
  auto nothing = rt().spawn([] {});
  nothing.get();
  expect_future_error(std::future_errc::future_already_retrieved, [&] { nothing.get(); });
  auto failed = rt().spawn([] { throw std::runtime_error("once"); });
  EXPECT_THROW(failed.get(), std::runtime_error);
  expect_future_error(std::future_errc::future_already_retrieved, [&] { failed.get(); });
}

TEST_P(task_test, a_task_without_a_fiber_says_so) {
  task<int> none;
  EXPECT_FALSE(none.valid());
  EXPECT_FALSE(none.done());
  EXPECT_FALSE(none.cancel());
  EXPECT_FALSE(none.cancelled());
  EXPECT_FALSE(bool(none.id()));
  expect_future_error(std::future_errc::no_state, [&] { none.get(); });
  expect_future_error(std::future_errc::no_state, [&] { none.wait(); });
  expect_future_error(std::future_errc::no_state, [&] { (void)none.wait_for(1ms); });
  expect_future_error(std::future_errc::no_state, [&] { (void)none.error(); });
  expect_future_error(std::future_errc::no_state, [&] { (void)none.name(); });
  expect_future_error(std::future_errc::no_state, [&] { none.detach(); });
  auto full = rt().spawn([] { return 1; });
  task<int> moved = std::move(full);
  expect_future_error(std::future_errc::no_state, [&] { full.get(); });
  EXPECT_EQ(moved.get(), 1);
}

TEST_P(task_test, wait_for_gives_up_at_its_time_and_not_before) {
  const auto check = [] {
    event go;
    auto t = spawn([&] { go.wait(); });
    const auto start = clock::now();
    EXPECT_FALSE(t.wait_for(3ms));
    EXPECT_GE(clock::now() - start, 3ms);
    EXPECT_FALSE(t.wait_for(0ms));
    EXPECT_FALSE(t.wait_until(clock::now() - 1s));
    EXPECT_FALSE(t.done());
    go.set();
    EXPECT_TRUE(t.wait_for(std::chrono::hours(1000000)));
    EXPECT_TRUE(t.done());
    EXPECT_TRUE(t.wait_for(-1s)) << "it is done";
    t.get();
  };
  on_fiber(check);
  event go;
  auto t = rt().spawn([&] { go.wait(); });
  EXPECT_FALSE(t.wait_for(3ms)) << "from a plain thread";
  go.set();
  EXPECT_TRUE(t.wait_for(30s));
}

TEST_P(task_test, many_wait_for_one_task_and_all_learn_of_its_end) {
  on_fiber([] {
    event go;
    auto one = spawn([&] {
      go.wait();
      return 1;
    });
    std::atomic<int> learned{0};
    std::vector<task<void>> waiters;
    for (int i = 0; i < 20; ++i)
      waiters.push_back(spawn([&] {
        one.wait();
        ++learned;
      }));
    this_fiber::sleep_for(1ms);
    EXPECT_EQ(learned.load(), 0);
    go.set();
    for (auto& w : waiters) w.get();
    EXPECT_EQ(learned.load(), 20);
    EXPECT_EQ(one.get(), 1);
  });
}

TEST_P(task_test, locals_and_arguments_are_destroyed_before_anybody_learns_of_the_end) {
  struct late {
    std::atomic<bool>* gone;
    ~late() {
      if (gone == nullptr) return;
      this_fiber::yield();
      gone->store(true);
    }
    explicit late(std::atomic<bool>* g) : gone(g) {}
    late(late&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
  };
  on_fiber([] {
    for (int i = 0; i < 50; ++i) {
      std::atomic<bool> argument{false}, local{false};
      spawn(
          [&](late) {
            late here(&local);
            this_fiber::yield();
          },
          late(&argument))
          .get();
      ASSERT_TRUE(argument.load());
      ASSERT_TRUE(local.load());
    }
  });
}

TEST_P(task_test, a_detached_task_goes_on) {
  std::atomic<bool> ran{false};
  on_fiber([&] {
    auto t = spawn([&] {
      this_fiber::sleep_for(1ms);
      ran = true;
    });
    t.detach();
    EXPECT_FALSE(t.valid());
  });
  EXPECT_TRUE(eventually([&] { return ran.load(); }));
}

TEST_P(task_test, the_destructor_cancels_and_joins) {
  std::atomic<int> unwound{0};
  const auto parked = [&](event& started) {
    return [&] {
      struct count {
        std::atomic<int>& n;
        ~count() { ++n; }
      } guard{unwound};
      started.set();
      event().wait();
    };
  };
  on_fiber([&] {
    event started;
    {
      auto t = spawn(parked(started));
      started.wait();
    }
    EXPECT_EQ(unwound.load(), 1);
  });
  event started;
  {
    auto t = rt().spawn(parked(started));
    started.wait();
  }
  EXPECT_EQ(unwound.load(), 2) << "from a plain thread";
}

TEST_P(task_test, an_assignment_ends_the_task_that_was_held) {
  on_fiber([] {
    auto t = spawn([] { event().wait(); });
    const fiber_id first = t.id();
    t = spawn([] {});
    EXPECT_NE(t.id(), first);
    t.get();
  });
}

// F34: two that join each other wait for ever, are shown as what they are, and can be cancelled.
TEST_P(task_test, a_cycle_of_joins_is_shown_and_ends_by_a_cancellation) {
  on_fiber([] {
    event known;
    task<void> first, second;
    first = spawn([&] {
      known.wait();
      second.wait();
    });
    second = spawn([&] {
      known.wait();
      first.wait();
    });
    known.set();
    const auto waits_for = [](const task<void>& who) {
      for (const fiber_info& f : runtime::current().fibers())
        if (f.id == who.id() && f.state == task_state::parked) return f.waits_for;
      return std::string();
    };
    const auto join_of = [](const task<void>& t) { return "join of fiber " + to_string(t.id()); };
    EXPECT_TRUE(eventually_on_fiber([&] {
      return waits_for(first) == join_of(second) && waits_for(second) == join_of(first);
    }));
    EXPECT_FALSE(first.wait_for(1ms));
    first.cancel();
    second.get();
    EXPECT_THROW(first.get(), cancelled);
  });
}

TEST_P(task_test, states_are_told) {
  on_fiber([&] {
    event go;
    std::atomic<bool> spin{true}, spinning{false};
    auto parked = spawn([&] { go.wait(); });
    EXPECT_TRUE(eventually_on_fiber([&] { return parked.state() == task_state::parked; }));
    go.set();
    parked.wait();
    EXPECT_EQ(parked.state(), task_state::done);
    EXPECT_TRUE(parked.done());
    if (workers() > 1) {
      auto running = spawn([&] {
        spinning = true;
        while (spin) std::this_thread::yield();
      });
      EXPECT_TRUE(eventually_on_fiber([&] { return spinning.load(); }));
      EXPECT_EQ(running.state(), task_state::running);
      spin = false;
      running.get();
    }
    auto ready = spawn({.name = "", .stack_size = 0, .pinned = true}, [] {});
    EXPECT_EQ(ready.state(), task_state::ready) << "pinned to the worker that runs us";
  });
}

TEST_P(task_test, a_pinned_task_cannot_start_while_its_worker_runs_another) {
  on_fiber([] {
    set_pinned(true);
    bool ran = false;
    auto t = spawn({.name = "", .stack_size = 0, .pinned = true}, [&] { ran = true; });
    std::this_thread::sleep_for(10ms);
    EXPECT_FALSE(ran);
    t.get();
    EXPECT_TRUE(ran);
  });
}

TEST_P(task_test, spawn_on_a_plain_thread_is_refused) {
  try {
    (void)spawn([] {});
    ADD_FAILURE();
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::operation_not_permitted);
    EXPECT_NE(std::string(e.what()).find("spawn"), std::string::npos) << e.what();
  }
}

TEST_P(task_test, what_blocks_its_thread_is_refused_on_a_fiber) {
  on_fiber([] {
    EXPECT_THROW(runtime::current().block_on([] {}), std::logic_error);
    EXPECT_THROW(runtime::current().shutdown(), std::logic_error);
    EXPECT_THROW(runtime::current().shutdown(1s), std::logic_error);
    EXPECT_THROW(make_runtime(1), std::logic_error);
    EXPECT_THROW(run([] {}), std::logic_error);
  });
  EXPECT_THROW(runtime::current(), std::logic_error);
}

TEST_P(task_test, block_on_works_from_many_threads_at_once) {
  std::vector<std::thread> crowd;
  std::atomic<int> sum{0};
  rt();
  for (int i = 0; i < 8; ++i)
    crowd.emplace_back([&, i] {
      for (int k = 0; k < 20; ++k)
        sum += rt().block_on([i] { return spawn([i] { return i; }).get(); });
    });
  for (auto& t : crowd) t.join();
  EXPECT_EQ(sum.load(), 20 * 28);
  EXPECT_THROW(rt().block_on([] { throw std::range_error("out"); }), std::range_error);
}

TEST_P(task_test, a_handle_outlives_its_runtime) {
  auto value = rt().spawn([] { return std::string("kept"); });
  auto failed = rt().spawn([] { throw std::runtime_error("kept too"); });
  auto parked = rt().spawn([] { event().wait(); });
  value.wait();
  failed.wait();
  rt().shutdown();
  EXPECT_THROW((void)rt().spawn([] {}), std::logic_error);
  stop();
  EXPECT_EQ(value.get(), "kept");
  EXPECT_THROW(failed.get(), std::runtime_error);
  EXPECT_FALSE(parked.cancel());
  EXPECT_TRUE(parked.cancelled());
  EXPECT_THROW(parked.get(), cancelled);
}

// F5
TEST_P(task_test, stack_sizes_of_1_and_of_everything_are_dealt_with) {
  on_fiber([] {
    auto small = spawn({.name = "", .stack_size = 1, .pinned = false},
                       [] { return this_fiber::stack_size(); });
    EXPECT_GE(small.get(), 8U * 1024);
    auto odd = spawn({.name = "", .stack_size = 100'001, .pinned = false},
                     [] { return this_fiber::stack_size(); });
    EXPECT_GE(odd.get(), 96'000U);
    EXPECT_THROW((void)spawn({.name = "", .stack_size = SIZE_MAX, .pinned = false}, [] {}),
                 std::invalid_argument);
    EXPECT_GT(this_fiber::stack_used(), 0U);
    EXPECT_LT(this_fiber::stack_used(), this_fiber::stack_size());
  });
  options o;
  o.workers = workers();
  o.stack_size = SIZE_MAX;
  EXPECT_THROW(make_runtime(o), std::invalid_argument);
  for (const std::size_t least : {std::size_t{0}, std::size_t{1}}) {
    o.stack_size = least;
    EXPECT_EQ(make_runtime(o)->block_on([] { return 3; }), 3);
  }
}

// F5: who parks sees to the stack of whoever runs next, on its own.
TEST_P(task_test, the_smallest_stack_is_enough_to_park_and_to_be_cancelled) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's frames are larger";
  on_fiber([] {
    event never_set;
    std::vector<task<void>> all;
    // Nobody has cached a stack of any of these sizes.
    for (std::size_t i = 0; i < 400; ++i)
      all.push_back(spawn(
          {.name = "", .stack_size = i % 2 == 0 ? 1 : 16384 + 4096 * (i % 20), .pinned = false},
          [&] { never_set.wait(); }));
    for (auto& t : all)
      while (t.state() != task_state::parked) this_fiber::yield();
    for (auto& t : all) t.cancel();
    for (auto& t : all) EXPECT_THROW(t.get(), cancelled);
  });
}

}  // namespace
}  // namespace coir::testing
