// Cancellation: where it strikes, what it leaves alone, what becomes of tasks that never ran.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <functional>
#include <mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class cancel_test : public runtime_test {
 protected:
  // `block` is cancelled while it waits: the task ends as cancelled, and so does a second one by a
  // plain thread.
  void expect_cancelled(const char* call, const std::function<void()>& block) {
    on_fiber([&] {
      auto t = spawn(block);
      while (t.state() != task_state::parked) this_fiber::yield();
      EXPECT_TRUE(t.cancel("enough"));
      try {
        t.get();
        ADD_FAILURE() << call << " returned";
      } catch (const cancelled& c) {
        EXPECT_EQ(c.reason(), "enough") << call;
        EXPECT_EQ(c.fiber(), t.id()) << call;
      }
      EXPECT_TRUE(t.cancelled()) << call;
      EXPECT_FALSE(t.cancel()) << call << ": it has ended";
    });
    auto t = rt().spawn(block);
    EXPECT_TRUE(eventually([&] { return t.state() == task_state::parked; }));
    EXPECT_TRUE(t.cancel());
    EXPECT_THROW(t.get(), cancelled) << call << ", cancelled by a plain thread";
  }

  // A task that has a request pending, from this plain thread, when it begins with `then`.
  template <class F>
  auto with_request(F&& then) {
    auto asked = std::make_shared<std::atomic<bool>>(false);
    auto started = std::make_shared<std::atomic<bool>>(false);
    auto t = rt().spawn([=, then = std::forward<F>(then)]() mutable {
      EXPECT_FALSE(this_fiber::uncancel());
      *started = true;
      while (!*asked) std::this_thread::yield();
      EXPECT_TRUE(this_fiber::cancel_requested());
      return then();
    });
    EXPECT_TRUE(eventually([&] { return started->load(); }));
    EXPECT_TRUE(t.cancel());
    *asked = true;
    return t;
  }
};
INSTANTIATE_TEST_SUITE_P(, cancel_test, every_setting(), name_of);

TEST_P(cancel_test, strikes_a_sleep) {
  expect_cancelled("sleep_for", [] { this_fiber::sleep_for(std::chrono::hours(1)); });
  expect_cancelled("sleep_for ever", [] { this_fiber::sleep_for(std::chrono::hours::max()); });
}

TEST_P(cancel_test, strikes_the_wait_for_a_mutex) {
  mutex m;
  m.lock();
  expect_cancelled("mutex::lock", [&] {
    std::lock_guard lock(m);
    ADD_FAILURE() << "it is held by somebody else";
  });
  expect_cancelled("mutex::try_lock_for", [&] { (void)m.try_lock_for(std::chrono::hours(1)); });
  m.unlock();
  EXPECT_TRUE(m.try_lock());
  m.unlock();
}

TEST_P(cancel_test, strikes_the_wait_for_an_event) {
  event e;
  expect_cancelled("event::wait", [&] { e.wait(); });
  expect_cancelled("event::wait_for", [&] { (void)e.wait_for(std::chrono::hours(1)); });
}

TEST_P(cancel_test, strikes_the_wait_for_permits) {
  counting_semaphore<5> s(1);
  expect_cancelled("acquire", [&] { s.acquire(2); });
  EXPECT_TRUE(s.try_acquire());
  expect_cancelled("try_acquire_for", [&] { (void)s.try_acquire_for(std::chrono::hours(1)); });
  s.release();
}

TEST_P(cancel_test, strikes_a_join_and_leaves_the_joined_task_alone) {
  event go;
  auto joined = rt().spawn([&] {
    go.wait();
    return 3;
  });
  expect_cancelled("task::wait", [&] { joined.wait(); });
  expect_cancelled("task::wait_for", [&] { (void)joined.wait_for(std::chrono::hours(1)); });
  expect_cancelled("task::get", [&] { joined.get(); });
  go.set();
  EXPECT_EQ(joined.get(), 3);
}

TEST_P(cancel_test, strikes_a_condition_wait_with_its_lock_held_again) {
  mutex m;
  condition_variable changed;
  expect_cancelled("condition_variable::wait", [&] {
    std::unique_lock lock(m);
    try {
      changed.wait(lock);
    } catch (const cancelled&) {
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_FALSE(m.try_lock()) << "by this fiber";
      throw;
    }
  });
}

TEST_P(cancel_test, strikes_on_entry_though_there_is_nothing_to_wait_for) {
  counting_semaphore<9> s(9);
  mutex m;
  event e;
  e.set();
  const std::vector<std::function<void()>> calls = {
      [] { this_fiber::yield(); },
      [] { this_fiber::sleep_for(0ms); },
      [] { this_fiber::sleep_for(-1ms); },
      [] { this_fiber::sleep_until(clock::time_point::min()); },
      [&] { s.acquire(); },
      [&] { (void)s.try_acquire_for(0ms); },
      [&] { m.lock(); },
      [&] { (void)m.try_lock_for(0ms); },
      [&] { e.wait(); },
      [&] { (void)e.wait_for(0ms); },
      [] { this_fiber::check_cancelled(); },
  };
  for (const auto& call : calls) {
    auto t = with_request([&] { call(); });
    EXPECT_THROW(t.get(), cancelled) << "call " << &call - calls.data();
    EXPECT_TRUE(t.cancelled());
  }
  EXPECT_TRUE(s.try_acquire(9)) << "nothing was taken";
  EXPECT_TRUE(m.try_lock());
  m.unlock();
  s.release(9);
}

TEST_P(cancel_test, does_not_strike_what_cannot_wait) {
  auto done = rt().spawn([] { return 4; });
  done.wait();
  auto t = with_request([&] {
    mutex m;
    EXPECT_TRUE(m.try_lock());
    m.unlock();
    counting_semaphore<1> s(1);
    EXPECT_TRUE(s.try_acquire());
    s.release();
    event e;
    e.set();
    e.reset();
    (void)runtime::current().metrics();
    done.wait();
    EXPECT_TRUE(done.wait_for(1ms));
    EXPECT_EQ(done.get(), 4);
    return 5;
  });
  EXPECT_EQ(t.get(), 5);
}

// --- tasks that never ran

TEST_P(cancel_test, before_its_first_run_a_task_never_runs_and_its_arguments_are_destroyed) {
  on_fiber([] {
    set_pinned(true);
    auto argument = std::make_shared<int>(1);
    std::weak_ptr<int> watch = argument;
    bool ran = false;
    auto t = spawn(
        {.name = "", .stack_size = 0, .pinned = true},
        [&ran](const std::shared_ptr<int>&) { ran = true; }, std::move(argument));
    EXPECT_TRUE(t.cancel("before"));
    EXPECT_TRUE(t.cancel("again"));
    for (int i = 0; i < 2; ++i) try {
        i == 0 ? t.get() : std::rethrow_exception(t.error());
        ADD_FAILURE();
      } catch (const cancelled& c) {
        EXPECT_EQ(c.reason(), "before");
        EXPECT_EQ(c.fiber(), t.id());
      }
    EXPECT_TRUE(t.cancelled());
    EXPECT_FALSE(ran);
    EXPECT_TRUE(watch.expired());
  });
}

TEST_P(cancel_test, the_arguments_of_a_task_that_never_ran_may_wait_when_they_are_destroyed) {
  struct waits {
    bool* done;
    explicit waits(bool* d) : done(d) {}
    waits(waits&& other) noexcept : done(std::exchange(other.done, nullptr)) {}
    ~waits() {
      if (done == nullptr) return;
      this_fiber::yield();
      this_fiber::sleep_for(1ms);
      *done = true;
    }
  };
  on_fiber([] {
    set_pinned(true);
    bool destroyed = false;
    auto t = spawn(
        {.name = "", .stack_size = 0, .pinned = true}, [](const waits&) {}, waits(&destroyed));
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_TRUE(destroyed);
  });
}

// --- what it does not take

TEST_P(cancel_test, what_had_completed_is_kept_and_the_next_call_throws) {
  on_fiber([] {
    set_pinned(true);
    event e;
    bool got = false, thrown = false;
    auto t = spawn({.name = "", .stack_size = 0, .pinned = true}, [&] {
      e.wait();
      got = true;
      EXPECT_TRUE(this_fiber::cancel_requested());
      try {
        this_fiber::yield();
      } catch (const cancelled&) {
        thrown = true;
      }
    });
    while (t.state() != task_state::parked) this_fiber::yield();
    e.set();  // it is ready on this worker, where we run
    t.cancel();
    t.wait();
    EXPECT_TRUE(got);
    EXPECT_TRUE(thrown);
  });
}

TEST_P(cancel_test, a_task_that_meets_no_blocking_call_ends_with_its_value) {
  auto t = with_request([] { return 6; });
  EXPECT_EQ(t.get(), 6);
  EXPECT_FALSE(t.cancelled());
}

TEST_P(cancel_test, is_not_thrown_while_unwinding_but_at_the_next_call) {
  on_fiber([] {
    set_pinned(true);
    bool waited_in_destructor = false, thrown_later = false;
    auto t = spawn({.name = "", .stack_size = 0, .pinned = true}, [&] {
      struct waits {
        bool& done;
        ~waits() {
          this_fiber::sleep_for(2ms);  // cancelled meanwhile
          this_fiber::yield();
          done = true;
        }
      };
      try {
        waits guard{waited_in_destructor};
        throw std::runtime_error("unwind");
      } catch (const std::runtime_error&) {}
      try {
        this_fiber::yield();
      } catch (const cancelled&) {
        thrown_later = true;
      }
    });
    while (t.state() != task_state::parked) this_fiber::yield();
    t.cancel();
    t.wait();
    EXPECT_TRUE(waited_in_destructor);
    EXPECT_TRUE(thrown_later);
  });
}

TEST_P(cancel_test, a_fiber_that_catches_it_goes_on_and_can_be_cancelled_again) {
  on_fiber([] {
    int times = 0;
    auto t = spawn([&] {
      for (;;) {
        try {
          event().wait();
        } catch (const cancelled& c) {
          EXPECT_FALSE(this_fiber::cancel_requested());
          if (++times == 3) throw;
          this_fiber::sleep_for(100us);  // running again: no cancellation here
        }
      }
    });
    while (!t.done()) {
      if (t.state() == task_state::parked) t.cancel();
      this_fiber::sleep_for(1ms);
    }
    EXPECT_TRUE(t.cancelled());
    EXPECT_GE(times, 1);
  });
}

TEST_P(cancel_test, requests_before_it_is_thrown_are_one_and_the_first_reason_stays) {
  on_fiber([] {
    set_pinned(true);
    int thrown = 0;
    std::string reason;
    auto t = spawn({.name = "", .stack_size = 0, .pinned = true}, [&] {
      for (int i = 0; i < 3; ++i) {
        try {
          this_fiber::sleep_for(1ms);
        } catch (const cancelled& c) {
          ++thrown;
          reason = c.reason();
        }
      }
    });
    while (t.state() != task_state::parked) this_fiber::yield();
    t.cancel("first");
    t.cancel("second");
    t.cancel();
    t.wait();
    EXPECT_EQ(thrown, 1);
    EXPECT_EQ(reason, "first");
  });
}

TEST_P(cancel_test, uncancel_takes_a_request_back) {
  auto t = with_request([] {
    EXPECT_TRUE(this_fiber::uncancel());
    EXPECT_FALSE(this_fiber::uncancel());
    EXPECT_FALSE(this_fiber::cancel_requested());
    this_fiber::check_cancelled();
    this_fiber::yield();
    this_fiber::sleep_for(1ms);
    return 1;
  });
  EXPECT_EQ(t.get(), 1);
}

TEST_P(cancel_test, a_request_taken_back_leaves_no_reason_for_the_next) {
  std::atomic<int> step{0};
  const auto reach = [&](int n) {
    while (step < n) std::this_thread::yield();
  };
  auto t = rt().spawn([&] {
    step = 1;
    reach(2);
    EXPECT_TRUE(this_fiber::uncancel());
    step = 3;
    reach(4);
    this_fiber::yield();
  });
  reach(1);
  EXPECT_TRUE(t.cancel("first"));
  step = 2;
  reach(3);
  EXPECT_TRUE(t.cancel("second"));
  step = 4;
  try {
    t.get();
    ADD_FAILURE() << "the second request is lost";
  } catch (const cancelled& c) {
    EXPECT_EQ(c.reason(), "second");
  }
}

TEST_P(cancel_test, a_cancellation_that_names_another_fiber_is_an_error_like_any_other) {
  on_fiber([] {
    auto inner = spawn([] { event().wait(); });
    inner.cancel();
    auto outer = spawn([&] { inner.get(); });
    try {
      outer.get();
      ADD_FAILURE();
    } catch (const cancelled& c) {
      EXPECT_EQ(c.fiber(), inner.id());
    }
    EXPECT_FALSE(outer.cancelled());
    EXPECT_TRUE(inner.cancelled());
  });
}

TEST_P(cancel_test, destructors_of_tasks_join_though_the_caller_is_cancelled) {
  on_fiber([] {
    std::atomic<int> ended{0};
    auto parent = spawn([&] {
      auto child = spawn([&] {
        struct count {
          std::atomic<int>& n;
          ~count() {
            this_fiber::sleep_for(1ms);
            ++n;
          }
        } guard{ended};
        event().wait();
      });
      this_fiber::sleep_for(std::chrono::hours(1));
    });
    while (parent.state() != task_state::parked) this_fiber::yield();
    this_fiber::sleep_for(1ms);
    parent.cancel();
    EXPECT_THROW(parent.get(), cancelled);
    EXPECT_EQ(ended.load(), 1);
  });
}

TEST_P(cancel_test, many_cancellers_of_the_same_fibers_lose_none_and_break_nothing) {
  // Every request goes through an inbox; requests for one fiber overlap all the time.
  std::atomic<bool> end{false};
  std::atomic<unsigned> caught{0}, asked{0};
  std::vector<task<void>> victims;
  for (int i = 0; i < 12; ++i)
    victims.push_back(rt().spawn([&] {
      while (!end) {
        try {
          this_fiber::sleep_for(std::chrono::hours(1));
        } catch (const cancelled&) {
          ++caught;
        }
      }
    }));
  const auto ask = [&](unsigned seed) {
    for (unsigned k = seed; !end; k = k * 1664525 + 1013904223) {
      victims[(k >> 8) % victims.size()].cancel();
      ++asked;
      if (k % 64 == 0) std::this_thread::yield();
    }
  };
  for (auto& v : victims) ASSERT_TRUE(eventually([&] { return v.state() == task_state::parked; }));
  std::vector<std::thread> cancellers;
  for (unsigned i = 1; i <= 3; ++i) cancellers.emplace_back(ask, i);
  std::this_thread::sleep_for(sanitized ? 150ms : 40ms);
  end = true;
  for (auto& t : cancellers) t.join();
  for (auto& v : victims) v.cancel();
  for (auto& v : victims) {
    EXPECT_TRUE(v.wait_for(10s)) << "a request was lost";
    ASSERT_TRUE(v.done());
  }
  EXPECT_GT(caught.load(), 0U);
}

}  // namespace
}  // namespace coir::testing
