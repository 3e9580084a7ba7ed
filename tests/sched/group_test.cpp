// task_group and with_group: no child outlives its group, and the first failure ends the rest.
#include <coir/sched/task_group.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/event.hpp>

#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <system_error>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

struct failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void fail(const char* what) { throw failure(what); }
void sleep_for_ever() { this_fiber::sleep_for(1h); }

class group_test : public runtime_test {
 protected:
  group_test() {
    opts.on_unhandled = [this](std::exception_ptr e, std::string_view) {
      try {
        std::rethrow_exception(e);
      } catch (const failure& f) {
        std::lock_guard held(lock_);
        unhandled_.emplace_back(f.what());
      }
    };
  }
  std::vector<std::string> unhandled() {
    std::lock_guard held(lock_);
    return unhandled_;
  }

 private:
  std::mutex lock_;
  std::vector<std::string> unhandled_;
};
INSTANTIATE_TEST_SUITE_P(, group_test, every_setting(), name_of);

TEST_P(group_test, join_waits_for_all_and_children_may_borrow_from_the_stack) {
  on_fiber([] {
    std::vector<int> squares(100);
    task_group g;
    for (int i = 0; i < 100; ++i)
      g.spawn([&squares, i] {
        if (i % 3 == 0) this_fiber::yield();
        squares[static_cast<std::size_t>(i)] = i * i;
      });
    g.join();
    for (int i = 0; i < 100; ++i) EXPECT_EQ(squares[static_cast<std::size_t>(i)], i * i);
  });
}

TEST_P(group_test, a_child_gives_its_value_through_its_handle) {
  on_fiber([] {
    task_ref<std::unique_ptr<int>> first, copy;
    {
      task_group g;
      first = g.spawn({.name = "child"}, [] { return std::make_unique<int>(3); });
      copy = first;
      EXPECT_EQ(first.name(), "child");
      g.join();
    }
    EXPECT_TRUE(first.done());
    EXPECT_EQ(*copy.get(), 3) << "the result is kept by the handles";
    EXPECT_THROW(first.get(), std::future_error) << "once over all copies";
  });
}

TEST_P(group_test, the_first_failure_cancels_the_siblings_and_join_throws_it) {
  on_fiber([] {
    std::atomic<int> unwound{0};
    task_group g;
    for (int i = 0; i < 5; ++i)
      g.spawn([&unwound] {
        try {
          sleep_for_ever();
        } catch (const cancelled&) {
          this_fiber::yield();
          ++unwound;
          throw;
        }
      });
    g.spawn([] {
      this_fiber::yield();
      fail("first");
    });
    EXPECT_THROW(g.join(), failure);
    EXPECT_LE(unwound, 5);
    EXPECT_EQ(g.errors().size(), 1U) << "a child that is cancelled is no failure";
    EXPECT_THROW(g.spawn([] {}), std::exception) << "it has been joined";
  });
}

TEST_P(group_test, a_child_that_fails_before_its_first_suspension_ends_the_group) {
  on_fiber([] {
    task_group g;
    auto other = g.spawn(&sleep_for_ever);
    g.spawn([] { fail("at once"); });
    EXPECT_THROW(g.join(), failure);
    EXPECT_TRUE(other.cancelled());
  });
}

TEST_P(group_test, all_errors_are_there_and_the_first_comes_first) {
  on_fiber([] {
    event go_on;
    std::atomic<int> waiting{0};
    task_group g;
    for (int i = 0; i < 3; ++i)
      g.spawn([&] {
        try {
          ++waiting;
          go_on.wait();
        } catch (const cancelled&) {
          fail("later");
        }
      });
    EXPECT_TRUE(eventually_on_fiber([&] { return waiting == 3; }));
    g.spawn([] { fail("first"); });
    try {
      g.join();
      ADD_FAILURE();
    } catch (const failure& f) {
      EXPECT_STREQ(f.what(), "first");
    }
    const auto errors = g.errors();
    ASSERT_EQ(errors.size(), 4U);
    try {
      std::rethrow_exception(errors[0]);
    } catch (const failure& f) {
      EXPECT_STREQ(f.what(), "first");
    }
  });
  EXPECT_TRUE(unhandled().empty()) << "somebody has read them";
}

TEST_P(group_test, children_spawn_siblings) {
  on_fiber([] {
    std::atomic<int> ran{0};
    task_group g;
    std::function<void(int)> grow = [&](int depth) {
      ++ran;
      if (depth == 0) return;
      for (int i = 0; i < 2; ++i) g.spawn(grow, depth - 1);
      this_fiber::yield();
    };
    g.spawn(grow, 5);
    g.join();
    EXPECT_EQ(ran, 63);
    EXPECT_THROW(g.spawn([] {}), std::logic_error);
  });
}

TEST_P(group_test, cancel_from_inside_and_from_outside) {
  on_fiber([] {
    task_group g;
    auto a = g.spawn(&sleep_for_ever), b = g.spawn(&sleep_for_ever);
    g.spawn([&g] { g.cancel(); });
    g.join();
    EXPECT_TRUE(a.cancelled());
    EXPECT_TRUE(b.cancelled());

    task_group other;
    auto c = other.spawn(&sleep_for_ever);
    std::thread outside([&other] { other.cancel(); });
    while (!c.done()) this_fiber::yield();
    try {
      other.spawn([] {});
      ADD_FAILURE() << "it has been cancelled";
    } catch (const cancelled& e) {
      EXPECT_EQ(e.fiber(), fiber_id{}) << "this fiber was not";
    }
    other.join();
    outside.join();
  });
}

TEST_P(group_test, cancelled_in_join_it_cancels_and_awaits_all) {
  on_fiber([] {
    std::atomic<int> unwound{0}, waiting{0};
    event in_join;
    auto parent = spawn([&] {
      task_group g;
      for (int i = 0; i < 3; ++i)
        g.spawn([&] {
          try {
            ++waiting;
            sleep_for_ever();
          } catch (const cancelled&) {
            shield([] { this_fiber::sleep_for(1ms); });
            ++unwound;
            throw;
          }
        });
      EXPECT_TRUE(eventually_on_fiber([&] { return waiting == 3; }));
      in_join.set();
      g.join();
    });
    in_join.wait();
    parent.cancel("enough");
    try {
      parent.get();
      ADD_FAILURE();
    } catch (const cancelled& c) {
      EXPECT_EQ(c.reason(), "enough");
    }
    EXPECT_TRUE(parent.cancelled());
    EXPECT_EQ(unwound, 3);
  });
}

TEST_P(group_test, an_error_of_a_child_comes_before_the_cancellation_of_the_parent) {
  on_fiber([] {
    event in_join;
    bool again = false;
    auto parent = spawn([&] {
      task_group g;
      g.spawn([&] {
        try {
          in_join.set();
          sleep_for_ever();
        } catch (const cancelled&) {
          fail("while unwinding");
        }
      });
      try {
        g.join();
        ADD_FAILURE();
      } catch (const failure&) {
        EXPECT_TRUE(this_fiber::cancel_requested());
        again = true;
      }
      this_fiber::yield();
      ADD_FAILURE() << "the cancellation comes at the next call";
    });
    in_join.wait();
    while (parent.state() != task_state::parked) this_fiber::yield();
    parent.cancel();
    parent.wait();
    EXPECT_TRUE(parent.cancelled());
    EXPECT_TRUE(again);
  });
}

TEST_P(group_test, a_group_that_is_not_joined_cancels_waits_and_reports) {
  on_fiber([] {
    bool ended = false;
    {
      event waits;
      task_group g;
      g.spawn([&] {
        try {
          waits.set();
          sleep_for_ever();
        } catch (const cancelled&) {
          ended = true;
          fail("nobody asks");
        }
      });
      waits.wait();
    }
    EXPECT_TRUE(ended);
  });
  EXPECT_EQ(unhandled(), std::vector<std::string>{"nobody asks"});
}

TEST_P(group_test, at_most_so_many_live_at_once) {
  on_fiber([] {
    std::atomic<int> alive{0}, most{0}, ran{0};
    task_group g{3};
    for (int i = 0; i < 50; ++i)
      g.spawn([&] {
        const int now = ++alive;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {}
        this_fiber::yield();
        --alive;
        ++ran;
      });
    g.join();
    EXPECT_EQ(ran, 50);
    EXPECT_LE(most, 3);
    EXPECT_GE(most, 1);
  });
}

TEST_P(group_test, a_spawner_that_waits_for_a_place_may_be_cancelled) {
  on_fiber([] {
    task_group g{1};
    g.spawn(&sleep_for_ever);
    auto waits = spawn([&] { g.spawn([] { ADD_FAILURE() << "there was no place"; }); });
    while (waits.state() != task_state::parked) this_fiber::yield();
    waits.cancel();
    waits.wait();
    EXPECT_TRUE(waits.cancelled());
    auto refused = spawn([&] { g.spawn([] { ADD_FAILURE() << "the group ends"; }); });
    while (refused.state() != task_state::parked) this_fiber::yield();
    g.cancel();
    EXPECT_THROW(refused.get(), cancelled);
    g.join();
  });
}

TEST_P(group_test, with_group_returns_what_the_body_does_once_all_have_ended) {
  on_fiber([] {
    std::atomic<int> ran{0};
    const auto answer = with_group([&](task_group& g) {
      for (int i = 0; i < 10; ++i)
        g.spawn([&] {
          this_fiber::yield();
          ++ran;
        });
      return std::make_unique<int>(7);
    });
    EXPECT_EQ(*answer, 7);
    EXPECT_EQ(ran, 10);
    with_group([](task_group&) {});
  });
}

TEST_P(group_test, a_failed_child_cancels_the_body_and_its_error_is_the_result) {
  on_fiber([] {
    bool struck = false;
    try {
      with_group([&](task_group& g) {
        g.spawn([] { fail("child"); });
        try {
          sleep_for_ever();
        } catch (const cancelled&) {
          struck = true;
          throw;
        }
      });
      ADD_FAILURE();
    } catch (const failure& f) {
      EXPECT_STREQ(f.what(), "child");
    }
    EXPECT_TRUE(struck);
    EXPECT_FALSE(this_fiber::cancel_requested());
    this_fiber::yield();
  });
}

TEST_P(group_test, a_body_that_throws_ends_the_children_and_goes_on) {
  on_fiber([] {
    std::atomic<int> unwound{0}, waiting{0};
    try {
      with_group([&](task_group& g) {
        for (int i = 0; i < 3; ++i)
          g.spawn([&] {
            try {
              ++waiting;
              sleep_for_ever();
            } catch (const cancelled&) {
              ++unwound;
              fail("late");
            }
          });
        EXPECT_TRUE(eventually_on_fiber([&] { return waiting == 3; }));
        fail("body");
      });
      ADD_FAILURE();
    } catch (const failure& f) {
      EXPECT_STREQ(f.what(), "body");
    }
    EXPECT_EQ(unwound, 3);
  });
  EXPECT_EQ(unhandled(), std::vector<std::string>(3, "late"));
}

TEST_P(group_test, an_outer_cancellation_of_the_body_goes_on_as_one) {
  on_fiber([] {
    event inside;
    auto t = spawn([&] {
      with_group([&](task_group& g) {
        g.spawn(&sleep_for_ever);
        inside.set();
        sleep_for_ever();
      });
    });
    inside.wait();
    t.cancel("outer");
    try {
      t.get();
      ADD_FAILURE();
    } catch (const cancelled& c) {
      EXPECT_EQ(c.reason(), "outer");
    }
    EXPECT_TRUE(t.cancelled());
  });
}

// A group's cancellation and an outer timeout at once are two origins (python/cpython#95704).
TEST_P(group_test, a_group_does_not_swallow_the_timeout_around_it) {
  on_fiber([] {
    EXPECT_THROW(with_timeout(2ms,
                              [] {
                                with_group([](task_group& g) {
                                  g.spawn([] { this_fiber::sleep_for(1h); });
                                  this_fiber::sleep_for(1h);
                                });
                              }),
                 timed_out);
    EXPECT_THROW(with_timeout(0s,
                              [] {
                                with_group([](task_group& g) {
                                  shield([&] {
                                    g.spawn([] { fail("child"); });
                                    while (!this_fiber::cancel_requested()) this_fiber::yield();
                                    for (int i = 0; i < 20; ++i) this_fiber::yield();
                                  });
                                  this_fiber::yield();
                                });
                              }),
                 timed_out);
    EXPECT_THROW(with_group([](task_group& g) {
                   g.spawn([] { fail("child"); });
                   with_timeout(1h, [] { this_fiber::sleep_for(1h); });
                 }),
                 failure)
        << "the timeout inside is not the group's";
  });
}

TEST_P(group_test, a_plain_thread_is_refused_but_may_spawn_into_a_group) {
  EXPECT_THROW(task_group{}, std::system_error);
  on_fiber([] {
    task_group g;
    std::atomic<bool> ran{false};
    std::thread outside([&] { g.spawn([&] { ran = true; }); });
    while (!ran) this_fiber::yield();
    outside.join();
    g.join();
  });
}

TEST_P(group_test, arguments_that_cannot_be_copied_leave_no_place_taken) {
  on_fiber([] {
    struct throws_on_copy {
      throws_on_copy() = default;
      throws_on_copy(const throws_on_copy&) { fail("copy"); }
      void operator()() const {}
    } f;
    task_group g{1};
    for (int i = 0; i < 3; ++i) EXPECT_THROW(g.spawn(f), failure);
    g.join();
  });
}

}  // namespace
}  // namespace coir::testing
