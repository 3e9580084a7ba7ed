// gather, settle, race, wait and as_completed; what happens at the end of a task.
#include <coir/sched/gather.hpp>
#include <coir/sched/wait.hpp>
#include <coir/sync/event.hpp>

#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

[[noreturn]] void fail(const char* what) { throw std::runtime_error(what); }

class gather_test : public runtime_test {
 protected:
  gather_test() {
    opts.on_unhandled = [this](std::exception_ptr, std::string_view) { ++unhandled; };
  }
  std::atomic<int> unhandled{0};
};
INSTANTIATE_TEST_SUITE_P(, gather_test, every_setting(), name_of);

TEST_P(gather_test, gives_all_values_in_order) {
  on_fiber([] {
    int here = 5;
    auto [a, b, c, d] = gather([] { return 1; }, [] { return std::make_unique<int>(2); }, [] {},
                               [&here]() -> int& { return here; });
    EXPECT_EQ(a, 1);
    EXPECT_EQ(*b, 2);
    static_assert(std::is_same_v<decltype(c), std::monostate>);
    EXPECT_EQ(&d.get(), &here);
    std::vector<std::function<int()>> many;
    for (int i = 0; i < 50; ++i)
      many.emplace_back([i] {
        if (i % 2) this_fiber::yield();
        return i;
      });
    const std::vector<int> all = gather(many);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], i);
    EXPECT_TRUE(gather(std::vector<std::function<int()>>{}).empty());
    EXPECT_EQ(std::tuple_size_v<decltype(gather())>, 0U);
  });
}

// What a std::views::transform is, which clang 14 cannot compile.
struct functions_made_on_the_way {
  struct function {
    std::string text;
    int n;
    std::string operator()() const {
      this_fiber::yield();
      return text + std::to_string(n);
    }
  };
  struct iterator {
    using value_type = function;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::forward_iterator_tag;
    function operator*() const { return {text_of(at), at}; }
    iterator& operator++() { return ++at, *this; }
    iterator operator++(int) { return {at++}; }
    bool operator==(const iterator&) const = default;
    int at = 0;
  };
  static std::string text_of(int i) { return std::string(100, static_cast<char>('a' + i)); }
  iterator begin() const { return {0}; }
  iterator end() const { return {20}; }
};

TEST_P(gather_test, a_range_may_make_its_functions_as_it_is_walked) {
  on_fiber([] {
    const functions_made_on_the_way made;
    const std::vector<std::string> all = gather(made);
    const auto settled = settle(made);
    for (int i = 0; i < 20; ++i) {
      const std::string expected = functions_made_on_the_way::text_of(i) + std::to_string(i);
      EXPECT_EQ(all[static_cast<std::size_t>(i)], expected);
      EXPECT_EQ(settled[static_cast<std::size_t>(i)].value(), expected);
    }
    EXPECT_EQ(race(made).size() / 100, 1U);
  });
}

TEST_P(gather_test, runs_all_at_once) {
  on_fiber([] {
    event a, b;
    gather(
        [&] {
          a.set();
          b.wait();
        },
        [&] {
          b.set();
          a.wait();
        });
  });
}

TEST_P(gather_test, the_first_error_cancels_the_rest_and_is_thrown) {
  on_fiber([] {
    bool unwound = false;
    event waits;
    try {
      gather(
          [&] {
            try {
              waits.set();
              this_fiber::sleep_for(1h);
            } catch (const cancelled&) {
              unwound = true;
              throw;
            }
          },
          [&] {
            waits.wait();
            fail("first");
          });
      ADD_FAILURE();
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "first");
    }
    EXPECT_TRUE(unwound);
    this_fiber::yield();
  });
}

TEST_P(gather_test, cancelled_itself_it_cancels_them) {
  on_fiber([] {
    std::atomic<int> unwound{0};
    event waits;
    const auto sleeps = [&] {
      try {
        waits.set();
        this_fiber::sleep_for(1h);
      } catch (const cancelled&) {
        ++unwound;
        throw;
      }
    };
    auto t = spawn([&] { gather(sleeps, sleeps); });
    waits.wait();
    while (t.state() != task_state::parked) this_fiber::yield();
    t.cancel();
    t.wait();
    EXPECT_TRUE(t.cancelled());
    EXPECT_GE(unwound, 1);
  });
}

TEST_P(gather_test, what_ends_it_may_do_so_before_all_have_started) {
  on_fiber([] {
    // Iterating over it gives the others time: what was started before has ended by then.
    struct slow_range {
      struct iterator {
        using value_type = std::function<int()>;
        using difference_type = std::ptrdiff_t;
        const std::vector<value_type>* of = nullptr;
        std::size_t at = 0;
        const value_type& operator*() const { return (*of)[at]; }
        iterator& operator++() {
          for (int i = 0; i < 50; ++i) this_fiber::yield();
          ++at;
          return *this;
        }
        iterator operator++(int) { return {of, at++}; }
        bool operator==(const iterator&) const = default;
      };
      iterator begin() const { return {&of, 0}; }
      iterator end() const { return {&of, of.size()}; }
      std::vector<std::function<int()>> of;
    };
    std::atomic<int> calls{0};
    const auto counts = [&] { return ++calls; };
    slow_range fails{{[]() -> int { fail("first"); }, counts, counts}};
    EXPECT_THROW(gather(fails), std::runtime_error);
    slow_range succeeds{{[] { return 7; }, counts, counts}};
    const int first = race(succeeds);
    EXPECT_GE(first, 1);
    if (GetParam().workers == 1) {
      EXPECT_EQ(first, 7);
      EXPECT_EQ(calls, 0) << "they are not called any more";
    }
  });
}

TEST_P(gather_test, settle_returns_errors_as_results) {
  on_fiber([] {
    auto [good, bad, none] = settle([] { return 1; }, []() -> int { fail("bad"); }, [] {});
    EXPECT_TRUE(good);
    EXPECT_EQ(good.value(), 1);
    EXPECT_EQ(good.error(), nullptr);
    EXPECT_FALSE(bad.has_value());
    EXPECT_FALSE(bad.cancelled());
    EXPECT_THROW(bad.value(), std::runtime_error);
    EXPECT_TRUE(none.has_value());
    std::deque<std::function<int()>> many(3, [] { return 4; });
    many[1] = []() -> int { fail("one"); };
    auto all = settle(many);
    EXPECT_EQ(all[0].value() + all[2].value(), 8);
    EXPECT_NE(all[1].error(), nullptr);
  });
  EXPECT_EQ(unhandled, 0);
}

TEST_P(gather_test, race_gives_the_first_value_and_ends_the_rest) {
  on_fiber([] {
    bool unwound = false;
    event waits;
    auto w = race(
        [&]() -> int {
          try {
            waits.set();
            this_fiber::sleep_for(1h);
          } catch (const cancelled&) {
            unwound = true;
            throw;
          }
          return 1;
        },
        []() -> double { fail("no"); },
        [&] {
          waits.wait();
          return std::string("won");
        });
    EXPECT_EQ(w.index(), 2U);
    EXPECT_EQ(std::get<2>(w), "won");
    EXPECT_TRUE(unwound);
    std::vector<std::function<int()>> many(3, []() -> int { fail("all"); });
    try {
      race(many);
      ADD_FAILURE();
    } catch (const all_failed& e) {
      EXPECT_EQ(e.errors().size(), 3U);
      EXPECT_NE(std::string(e.what()).find('3'), std::string::npos);
    }
    many[1] = [] { return 9; };
    EXPECT_EQ(race(many), 9);
    EXPECT_THROW(race(std::vector<std::function<int()>>{}), all_failed);
  });
  EXPECT_EQ(unhandled, 0) << "what loses is dropped";
}

TEST_P(gather_test, wait_returns_who_is_done_and_cancels_nobody) {
  on_fiber([] {
    event go_on;
    std::vector<task<int>> tasks;
    tasks.push_back(spawn([&] {
      go_on.wait();
      return 0;
    }));
    tasks.push_back(spawn([] { return 1; }));
    tasks.push_back(spawn([&]() -> int {
      go_on.wait();
      fail("late");
    }));
    auto first = wait(tasks, wait_for_what::first_done);
    EXPECT_EQ(first.done, std::vector<std::size_t>{1});
    EXPECT_EQ(first.pending, (std::vector<std::size_t>{0, 2}));
    auto timed = wait(tasks, wait_for_what::all, 1ms);
    EXPECT_EQ(timed.pending.size(), 2U);
    EXPECT_EQ(wait(tasks, 0ms).done.size(), 1U);
    go_on.set();
    auto failed = wait(tasks, wait_for_what::first_error);
    EXPECT_TRUE(tasks[2].done());
    auto all = wait(tasks);
    EXPECT_EQ(all.done.size(), 3U);
    EXPECT_TRUE(all.pending.empty());
    EXPECT_EQ(tasks[0].get() + tasks[1].get(), 1);
    EXPECT_NE(tasks[2].error(), nullptr);
    EXPECT_TRUE(wait(std::vector<task<int>>{}).done.empty());
    std::vector<task<int>> none(1);
    EXPECT_THROW(wait(none), std::future_error);
  });
}

TEST_P(gather_test, wait_is_cancellable_and_leaves_the_tasks_alone) {
  on_fiber([] {
    event go_on;
    std::vector<task<void>> tasks;
    for (int i = 0; i < 3; ++i) tasks.push_back(spawn([&] { go_on.wait(); }));
    auto waits = spawn([&] { wait(tasks); });
    while (waits.state() != task_state::parked) this_fiber::yield();
    waits.cancel();
    waits.wait();
    EXPECT_TRUE(waits.cancelled());
    go_on.set();
    EXPECT_EQ(wait(tasks).done.size(), 3U);
    for (auto& t : tasks) t.get();
  });
  // By a plain thread, for tasks that end meanwhile.
  std::vector<task<void>> tasks;
  for (int i = 0; i < 20; ++i) tasks.push_back(rt().spawn([] { this_fiber::yield(); }));
  EXPECT_EQ(wait(tasks).done.size(), 20U);
}

TEST_P(gather_test, as_completed_gives_the_tasks_as_they_end) {
  on_fiber([] {
    constexpr int n = 8;
    std::vector<event> turns(n);
    std::vector<task<int>> tasks;
    for (int i = 0; i < n; ++i)
      tasks.push_back(spawn([&turns, i] {
        turns[static_cast<std::size_t>(i)].wait();
        return i;
      }));
    const int order[n] = {3, 1, 7, 0, 2, 6, 5, 4};
    turns[3].set();
    int seen = 0;
    for (auto& t : as_completed(tasks)) {
      EXPECT_EQ(t.get(), order[seen]);
      if (++seen < n) turns[static_cast<std::size_t>(order[seen])].set();
    }
    EXPECT_EQ(seen, n);
  });
}

TEST_P(gather_test, functions_on_done_are_called_in_order_before_a_joiner_goes_on) {
  on_fiber([] {
    event go_on;
    std::string order;
    auto t = spawn([&] {
      go_on.wait();
      return 1;
    });
    t.on_done([&] { order += 'a'; });
    const callback_id gone = t.on_done([&] { order += 'x'; });
    t.on_done([&] { order += 'b'; });
    EXPECT_TRUE(t.remove_on_done(gone));
    EXPECT_FALSE(t.remove_on_done(gone));
    go_on.set();
    EXPECT_EQ(t.get(), 1);
    EXPECT_EQ(order, "ab");
    const callback_id late = t.on_done([&] { order += 'c'; });
    EXPECT_EQ(order, "abc") << "at once, if it has ended";
    EXPECT_FALSE(t.remove_on_done(late));

    auto never_ran = spawn([] {});
    bool told = false;
    never_ran.on_done([&] { told = true; });
    never_ran.cancel();
    never_ran.wait();
    EXPECT_TRUE(told);
  });
}

// They may borrow from the stack of who joins: also one who comes while they are being called.
TEST_P(gather_test, a_join_that_finds_the_task_done_waits_for_its_functions_on_done) {
  for (int round = 0; round < 3; ++round) {
    std::atomic<bool> inside{false}, go{false}, out{false};
    std::atomic<int> early{0}, joined{0};
    auto others = rt().spawn([] { return 1; });
    others.wait();
    event ends;
    auto t = rt().spawn([&] { ends.wait(); });
    const task_ref<void> ref(t);
    t.on_done([&] {
      EXPECT_TRUE(ref.done());
      EXPECT_EQ(ref.error(), nullptr);  // itself waits for nobody
      EXPECT_EQ(others.get(), 1);
      inside = true;
      while (!go) std::this_thread::yield();
      out = true;
    });
    ends.set();
    ASSERT_TRUE(eventually([&] { return inside.load(); }));
    std::vector<std::thread> threads;
    for (int how = 0; how < 3; ++how)
      threads.emplace_back([&, how, mine = ref] {
        EXPECT_TRUE(mine.done());
        if (how == 0) {
          mine.wait();
        } else if (how == 1) {
          EXPECT_EQ(mine.error(), nullptr);
        } else {
          EXPECT_TRUE(mine.wait_for(1h));
        }
        early += out ? 0 : 1;
        ++joined;
      });
    std::this_thread::sleep_for(10ms);
    EXPECT_EQ(joined, 0);
    go = true;
    t.get();
    EXPECT_TRUE(out);
    for (auto& x : threads) x.join();
    EXPECT_EQ(early, 0) << "a join returned before a function that may borrow from it";
    while (!out) std::this_thread::yield();  // it borrows
  }
}

TEST_P(gather_test, what_a_function_on_done_throws_is_reported) {
  on_fiber([] {
    event go_on;
    auto t = spawn([&] { go_on.wait(); });
    t.on_done([] { fail("in the callback"); });
    go_on.set();
    t.get();
    t.on_done([] { fail("at once"); });
  });
  EXPECT_TRUE(eventually([&] { return unhandled == 2; })) << unhandled;  // perhaps after the join
}

TEST_P(gather_test, a_reference_to_a_task_outlives_its_handle) {
  on_fiber([] {
    task_ref<int> ref;
    {
      auto t = spawn([] { return 5; });
      ref = task_ref<int>(t);
      t.wait();
    }
    EXPECT_EQ(ref.get(), 5);
    task_ref<int> none;
    EXPECT_FALSE(none.valid());
    EXPECT_THROW(none.get(), std::future_error);
  });
}

}  // namespace
}  // namespace coir::testing
