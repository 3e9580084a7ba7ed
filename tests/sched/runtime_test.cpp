// Runtimes as values: their beginning, what they show, their end.
#include <coir/sched/cancelled.hpp>
#include <coir/sched/driver.hpp>
#include <coir/sched/futex_driver.hpp>
#include <coir/sched/parts.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <algorithm>
#include <mutex>
#include <sstream>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class runtime_life : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, runtime_life, every_setting(), name_of);

// F29
TEST_P(runtime_life, two_runtimes_live_at_once_and_their_fibers_use_each_others_primitives) {
  event ping, pong;
  auto other = make_runtime(workers());
  auto a = rt().spawn([&] {
    for (int i = 0; i < 100; ++i) {
      ping.set();
      pong.wait();
      pong.reset();
    }
    return &runtime::current();
  });
  auto b = other->spawn([&] {
    for (int i = 0; i < 100; ++i) {
      ping.wait();
      ping.reset();
      pong.set();
    }
    return &runtime::current();
  });
  EXPECT_EQ(a.get(), &rt());
  EXPECT_EQ(b.get(), other.get());
}

TEST_P(runtime_life, a_fiber_of_one_runtime_joins_a_task_of_another) {
  auto other = make_runtime(1);
  on_fiber([&] {
    auto t = other->spawn([] {
      this_fiber::sleep_for(1ms);
      return 4;
    });
    EXPECT_EQ(t.get(), 4);
  });
}

TEST_P(runtime_life, fibers_that_are_parked_ready_and_sleeping_are_shown) {
  event go;
  mutex m;
  m.lock();
  auto waits = rt().spawn({.name = "waits", .stack_size = 0, .pinned = false}, [&] { go.wait(); });
  auto locks = rt().spawn({.name = "locks", .stack_size = 0, .pinned = false},
                          [&] { std::lock_guard lock(m); });
  auto sleeps = rt().spawn({.name = "a name that is longer than thirty-one characters",
                            .stack_size = 0,
                            .pinned = false},
                           [] { this_fiber::sleep_for(std::chrono::hours(1)); });
  auto joins =
      rt().spawn({.name = "joins", .stack_size = 0, .pinned = false}, [&] { waits.wait(); });
  const auto parked = [](const auto& t) { return t.state() == task_state::parked; };
  ASSERT_TRUE(eventually(
      [&] { return parked(waits) && parked(locks) && parked(sleeps) && parked(joins); }));
  const auto rows = rt().fibers();
  const auto row = [&](fiber_id id) {
    const auto at =
        std::find_if(rows.begin(), rows.end(), [&](const fiber_info& f) { return f.id == id; });
    EXPECT_NE(at, rows.end());
    return at != rows.end() ? *at : fiber_info{};
  };
  EXPECT_EQ(rows.size(), 4U);
  EXPECT_EQ(row(waits.id()).name, "waits");
  EXPECT_EQ(row(waits.id()).state, task_state::parked);
  EXPECT_EQ(row(waits.id()).waits_for, "event");
  EXPECT_EQ(row(locks.id()).waits_for, "mutex") << "a thread holds it, not a fiber";
  EXPECT_EQ(row(sleeps.id()).waits_for, "sleep");
  EXPECT_EQ(row(sleeps.id()).name, "a name that is longer than thir");
  EXPECT_NE(row(joins.id()).waits_for.find("join of fiber " + to_string(waits.id())),
            std::string::npos);
  for (const auto& f : rows) EXPECT_LT(f.worker, workers());
  EXPECT_TRUE(eventually([&] {
    for (const auto& f : rt().fibers())
      if (f.waits < 20ms || f.waits > 1h) return false;
    return true;
  })) << "since when each waits";
  for (const auto& f : rows) EXPECT_EQ(f.stack_used, 0U) << "it is not measured";
  std::ostringstream dump;
  rt().dump(dump);
  const std::string text = dump.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4) << text;
  EXPECT_NE(text.find("'waits' parked"), std::string::npos) << text;
  EXPECT_EQ(rt().metrics().fibers_alive, 4U);
  EXPECT_EQ(rt().metrics().workers, workers());
  m.unlock();
  go.set();
  sleeps.cancel();
}

TEST_P(runtime_life, a_measured_fiber_says_how_much_stack_it_has_used) {
  if (fiber::sanitizers::address) GTEST_SKIP() << "locals lie on a stack of the tool's";
  opts.measure_stacks = true;
  event go;
  auto deep = rt().spawn([&] {
    [](event& e) {
      volatile char space[30000];
      for (char volatile& c : space) c = 1;
      e.wait();
    }(go);
  });
  ASSERT_TRUE(eventually([&] { return deep.state() == task_state::parked; }));
  const auto rows = rt().fibers();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_GE(rows[0].stack_used, 30000U);
  EXPECT_LE(rows[0].stack_used, 256U * 1024);
  go.set();
}

TEST_P(runtime_life, a_dump_names_the_fiber_that_holds_the_mutex) {
  mutex m;
  event go;
  auto holder = rt().spawn([&] {
    std::lock_guard lock(m);
    go.wait();
  });
  ASSERT_TRUE(eventually([&] { return holder.state() == task_state::parked; }));
  auto waiter = rt().spawn([&] { std::lock_guard lock(m); });
  ASSERT_TRUE(eventually([&] { return waiter.state() == task_state::parked; }));
  std::ostringstream dump;
  rt().dump(dump);
  EXPECT_NE(dump.str().find("mutex held by fiber " + to_string(holder.id())), std::string::npos)
      << dump.str();
  go.set();
}

TEST_P(runtime_life, fibers_may_be_listed_while_they_come_and_go) {
  std::atomic<bool> end{false};
  auto storm = rt().spawn([&] {
    while (!end) {
      std::vector<task<void>> all;
      for (int i = 0; i < 20; ++i)
        all.push_back(spawn({.name = "short", .stack_size = 0, .pinned = false},
                            [] { this_fiber::yield(); }));
    }
  });
  for (int i = 0; i < 100; ++i)
    for (const auto& f : rt().fibers()) {
      EXPECT_TRUE(bool(f.id));
      EXPECT_TRUE(f.name.empty() || f.name == "short") << f.name;
    }
  end = true;
  storm.get();
}

// --- the end

TEST_P(runtime_life, shutdown_cancels_and_unwinds_every_fiber_once) {
  std::atomic<int> unwound{0}, was_cancelled{0};
  event never_set;
  const int many = sanitized ? 500 : 3000;
  for (int i = 0; i < many; ++i)
    rt().spawn([&] {
          struct count {
            std::atomic<int>& n;
            ~count() { ++n; }
          } guard{unwound};
          try {
            never_set.wait();
          } catch (const cancelled&) {
            ++was_cancelled;
            throw;
          }
        })
        .detach();
  ASSERT_TRUE(eventually([&] {
    const auto rows = rt().fibers();
    return std::all_of(rows.begin(), rows.end(),
                       [](const fiber_info& f) { return f.state == task_state::parked; });
  }));
  const auto start = std::chrono::steady_clock::now();
  rt().shutdown();
  rt().shutdown();
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  EXPECT_EQ(unwound.load(), many);
  EXPECT_EQ(was_cancelled.load(), many);
  EXPECT_EQ(rt().metrics().fibers_alive, 0U);
}

TEST_P(runtime_life, shutdown_ends_though_another_thread_keeps_waking_the_fibers) {
  // F30.
  constexpr std::size_t many = sanitized ? 500 : 10'000;
  std::vector<std::unique_ptr<event>> events;
  for (std::size_t i = 0; i < many; ++i) events.push_back(std::make_unique<event>());
  std::atomic<int> alive{0};
  std::atomic<bool> end{false};
  std::thread waker([&] {
    for (std::size_t i = 0; !end; i = (i + 1) % many) events[i]->set();
  });
  for (auto& e : events)
    rt().spawn([&, &mine = *e] {
          struct count {
            std::atomic<int>& n;
            explicit count(std::atomic<int>& counted) : n(counted) { ++n; }
            ~count() { --n; }
          } guard{alive};
          for (;;) {
            mine.wait();
            mine.reset();
          }
        })
        .detach();
  std::this_thread::sleep_for(5ms);
  const auto start = std::chrono::steady_clock::now();
  stop();
  EXPECT_LT(std::chrono::steady_clock::now() - start, sanitized ? 30s : 5s);
  EXPECT_EQ(alive.load(), 0);
  end = true;
  waker.join();
}

TEST_P(runtime_life, destructors_that_wake_and_cancel_others_during_shutdown_do_no_harm) {
  // F31.
  for (int round = 0; round < 5; ++round) {
    auto r = make_runtime(workers());
    event a, b;
    auto first = std::make_shared<task<void>>(), second = std::make_shared<task<void>>();
    struct meddle {
      event& wakes;
      std::shared_ptr<task<void>> cancels;
      ~meddle() {
        wakes.set();
        cancels->cancel();
      }
    };
    event ready;
    *first = r->spawn([&] {
      ready.wait();
      meddle m{b, second};
      a.wait();
    });
    *second = r->spawn([&] {
      ready.wait();
      meddle m{a, first};
      b.wait();
    });
    ready.set();
    if (round % 2) std::this_thread::sleep_for(1ms);
    r->shutdown();
    EXPECT_TRUE(first->done() && second->done());
  }
}

TEST_P(runtime_life, a_fiber_that_swallows_cancellation_still_ends_at_shutdown) {
  // F13.
  std::atomic<int> swallowed{0};
  auto t = rt().spawn([&] {
    while (swallowed < 20) {
      try {
        event().wait();
      } catch (...) {
        ++swallowed;
      }
    }
  });
  EXPECT_TRUE(eventually([&] { return t.state() == task_state::parked; }));
  rt().shutdown();
  EXPECT_TRUE(t.done());
  EXPECT_EQ(swallowed.load(), 20);
}

TEST_P(runtime_life, a_fiber_that_spawns_during_shutdown_is_refused_and_ends) {
  std::atomic<bool> refused{false};
  auto t = rt().spawn([&] {
    try {
      event().wait();
    } catch (const cancelled&) {
      try {
        spawn([] {}).detach();
      } catch (const std::logic_error&) {
        refused = true;
      }
    }
  });
  EXPECT_TRUE(eventually([&] { return t.state() == task_state::parked; }));
  rt().shutdown();
  EXPECT_TRUE(refused.load());
}

TEST_P(runtime_life, spawns_from_threads_race_with_shutdown_and_nothing_is_left) {
  std::atomic<bool> go{false};
  std::atomic<int> destroyed{0}, given{0};
  struct count {
    std::atomic<int>* n;
    explicit count(std::atomic<int>* counted) : n(counted) {}
    count(count&& other) noexcept : n(std::exchange(other.n, nullptr)) {}
    ~count() {
      if (n != nullptr) ++*n;
    }
  };
  rt();
  std::vector<std::thread> crowd;
  for (int i = 0; i < 3; ++i)
    crowd.emplace_back([&] {
      while (!go) std::this_thread::yield();
      try {
        for (;;) {
          ++given;
          rt().spawn([](const count&) { event().wait(); }, count(&destroyed)).detach();
        }
      } catch (const std::logic_error&) {}
    });
  go = true;
  std::this_thread::sleep_for(3ms);
  rt().shutdown();
  for (auto& t : crowd) t.join();
  EXPECT_TRUE(eventually([&] { return destroyed.load() == given.load(); }))
      << destroyed.load() << " of " << given.load();
}

TEST_P(runtime_life, the_waker_may_be_in_its_call_when_the_runtime_ends) {
  // The last touch of a foreign waker: what it has woken may end the runtime before it returns.
  for (int round = 0; round < (sanitized ? 10 : 40); ++round) {
    auto r = make_runtime(workers());
    auto e = std::make_unique<event>();
    auto t = r->spawn([&] { e->wait(); });
    std::thread waker([&] { e->set(); });
    t.get();
    r.reset();
    waker.join();
  }
}

TEST_P(runtime_life, a_handle_may_be_cancelled_while_its_runtime_ends) {
  auto watched = std::make_shared<int>(1);
  for (int round = 0; round < (sanitized ? 10 : 30); ++round) {
    auto r = make_runtime(workers());
    auto t = r->spawn([watched] {
      try {
        event().wait();
      } catch (const cancelled&) {}
      return watched;
    });
    std::thread canceller([&] {
      while (!t.done()) {
        t.cancel();
        std::this_thread::yield();
      }
      t.cancel();
    });
    if (round % 2) r->shutdown();
    r.reset();
    canceller.join();
    EXPECT_TRUE(t.done());
  }
  EXPECT_EQ(watched.use_count(), 1) << "a request that was under way has kept a result";
}

// F29
TEST(runtime_series, a_thousand_runtimes_one_after_another) {
  const std::size_t threads = running_threads(), descriptors = open_descriptors();
  const int series = sanitized ? 200 : 1000;
  for (int i = 0; i < series; ++i) EXPECT_EQ(make_runtime(2)->block_on([i] { return i; }), i);
  EXPECT_TRUE(eventually([&] { return running_threads() <= threads; }));
  EXPECT_EQ(open_descriptors(), descriptors);
}

// An operation that nobody waits for ends in a poll, as that of a listener that accepts ahead.
class forgetful_driver final : public sched::driver {
 public:
  explicit forgetful_driver(std::atomic<std::size_t>& n)
      : in_(sched::make_futex_drivers()->make()), n_(n) {}
  sched::completion_contract contract() const noexcept override { return in_->contract(); }
  void attach() override { in_->attach(); }
  void detach() noexcept override { in_->detach(); }
  void poll(sched::ready_list& r) noexcept override {
    in_->poll(r);
    n_ = 0;
  }
  void wait(clock::time_point until, sched::ready_list& r) noexcept override {
    in_->wait(until, r);
  }
  void interrupt() noexcept override { in_->interrupt(); }
  bool busy() const noexcept override { return n_ != 0; }
  std::size_t in_flight() const noexcept override { return n_; }

 private:
  const std::unique_ptr<sched::driver> in_;
  std::atomic<std::size_t>& n_;
};
class forgetful_drivers final : public sched::driver_factory {
 public:
  explicit forgetful_drivers(std::atomic<std::size_t>& n) : n_(n) {}
  std::unique_ptr<sched::driver> make() override { return std::make_unique<forgetful_driver>(n_); }
  const char* name() const noexcept override { return "forgetful"; }
  const char* reason() const noexcept override { return "a test counts its operations"; }

 private:
  std::atomic<std::size_t>& n_;
};

TEST(runtime_metrics_test, what_ended_before_a_worker_fell_asleep_is_not_in_flight) {
  std::atomic<std::size_t> in_flight{0};
  options o;
  o.workers = 2;
  o.idle_poll = 0us;
  sched::parts made_of(std::make_unique<forgetful_drivers>(in_flight));
  made_of.looks_for_deadlocks = false;  // or a sleeper wakes for that, and counts anew
  runtime r(o, std::move(made_of));
  for (int round = 0; round < 20; ++round) {
    r.block_on([&] {
      // Until the other worker is the one that wakes now and then to look after this one.
      const auto until = clock::now() + 10ms;
      while (clock::now() < until) {}
      in_flight = 1;
    });
    ASSERT_TRUE(eventually([&] { return r.metrics().io_in_flight == 0; }, 3s))
        << "all sleep, and something is in flight; round " << round;
  }
}

}  // namespace
}  // namespace coir::testing
