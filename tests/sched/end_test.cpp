// How a runtime ends when it cannot end well: fibers that ignore cancellation, and fork(2).
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coir/sched/futex_driver.hpp>
#include <coir/sched/runtime.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/async.hpp>
#include <coir/sync/event.hpp>

#include "fiber/sanitizers.hpp"
#include "stubborn.hpp"

namespace {

using namespace std::chrono_literals;
using coir::testing::be_stubborn;
using coir::testing::new_stubbornness;
using coir::testing::stubbornness;
using coir::testing::with;

class end_test : public testing::TestWithParam<unsigned> {
 protected:
  std::unique_ptr<coir::runtime> runtime =
      std::make_unique<coir::runtime>(with(GetParam()), coir::sched::make_futex_drivers());
};

INSTANTIATE_TEST_SUITE_P(workers, end_test, testing::Values(1u, 2u, 4u, 8u));

TEST_P(end_test, a_shutdown_without_a_limit_outlasts_fibers_that_swallow_cancellation) {
  std::atomic<bool> begun{false}, enough{false};
  std::atomic<int> swallowed{0};
  auto t = runtime->spawn([&] {
    begun = true;
    while (!enough.load()) {
      try {
        coir::this_fiber::sleep_for(10s);
      } catch (const coir::cancelled&) {
        if (++swallowed == 3) enough = true;
      }
    }
  });
  while (!begun) std::this_thread::yield();
  runtime->shutdown();
  EXPECT_EQ(swallowed.load(), 3);
  EXPECT_TRUE(t.done());
}

TEST_P(end_test, a_shutdown_within_its_limit_is_whole) {
  auto t = runtime->spawn([] { coir::this_fiber::sleep_for(1h); });
  EXPECT_TRUE(runtime->shutdown(1min));
  EXPECT_TRUE(t.cancelled());
  EXPECT_TRUE(runtime->fibers().empty());
  EXPECT_TRUE(runtime->shutdown(0s)) << "again";
  EXPECT_THROW(static_cast<void>(runtime->spawn([] {})), std::logic_error);
}

// F32
TEST_P(end_test, past_the_limit_the_rest_is_named_and_abandoned) {
  auto& how = new_stubbornness();
  auto stubborn = runtime->spawn({.name = "stubborn"}, [&how] { be_stubborn(how); });
  while (!how.begun) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(50ms));
  const auto left = runtime->fibers();
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].name, "stubborn");
  try {
    stubborn.get();
    FAIL() << "an abandoned fiber has no value";
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), std::future_errc::broken_promise);
  }
  how.enough = true;
}

TEST_P(end_test, a_thread_that_waits_for_an_abandoned_fiber_is_told) {
  auto& how = new_stubbornness();
  auto stubborn = runtime->spawn([&how] { be_stubborn(how); });
  std::promise<std::error_code> told;
  std::thread waiter([&] {
    try {
      stubborn.get();
      told.set_value({});
    } catch (const std::future_error& e) {
      told.set_value(e.code());
    }
  });
  while (!how.begun) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(20ms));
  EXPECT_EQ(told.get_future().get(), std::future_errc::broken_promise);
  waiter.join();
  how.enough = true;
}

TEST_P(end_test, a_fiber_of_another_runtime_that_waits_for_an_abandoned_one_is_told) {
  auto& how = new_stubbornness();
  coir::runtime other(with(GetParam()), coir::sched::make_futex_drivers());
  auto stubborn = runtime->spawn([&how] { be_stubborn(how); });
  while (!how.begun) std::this_thread::yield();
  auto joiner = other.spawn([&] {
    try {
      stubborn.get();
    } catch (const std::future_error& e) {
      return e.code() == std::future_errc::broken_promise;
    }
    return false;
  });
  while (joiner.state() != coir::task_state::parked) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(20ms));
  const bool told = joiner.wait_for(10s);
  EXPECT_TRUE(told) << "it waits on: " << (other.dump(std::cerr), "");
  how.enough = true;
  if (!told) joiner.cancel();
  EXPECT_TRUE(joiner.get());
}

// A hog that comes back and swallows every cancellation: each blocking call would throw at once.
TEST_P(end_test, a_late_wake_of_an_abandoned_fiber_changes_nothing_for_who_asks) {
  auto& late = *new coir::event;  // it has a waiter for ever
  auto t = runtime->spawn([&late] { coir::shield([&] { late.wait(); }); });
  while (t.state() != coir::task_state::parked) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(10ms));
  EXPECT_TRUE(t.done());
  late.set();
  EXPECT_TRUE(t.done());
  EXPECT_EQ(t.state(), coir::task_state::done);
  EXPECT_TRUE(t.wait_for(0s));
  EXPECT_THROW(t.get(), std::future_error);
}

TEST_P(end_test, the_future_of_an_abandoned_fiber_has_a_broken_promise) {
  auto& never_set = *new coir::event;
  coir::future<int> parked, hogs;
  auto& s = new_stubbornness();
  runtime->block_on([&] {
    parked =
        coir::async([&]() -> int { return coir::shield([&] { return never_set.wait(), 1; }); });
    coir::this_fiber::yield();
  });
  std::thread asks([&] { EXPECT_THROW(parked.get(), std::future_error); });
  std::atomic<bool> computing{false};
  runtime->block_on([&] {
    hogs = coir::async([&] {
      computing = true;
      while (!s.enough) std::this_thread::sleep_for(1ms);
      return 2;
    });
  });
  while (!computing) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(10ms));
  asks.join();
  try {
    hogs.wait();
    s.enough = true;  // what it returns now comes too late
    hogs.get();
    ADD_FAILURE();
  } catch (const std::future_error& e) {
    EXPECT_EQ(e.code(), std::future_errc::broken_promise);
  }
}

TEST_P(end_test, an_abandoned_fiber_that_comes_back_stops_at_its_next_blocking_call) {
  struct steps {
    std::atomic<bool> begun{false}, enough{false};
    std::atomic<int> calls{0};
  };
  static auto& all = *new std::vector<std::unique_ptr<steps>>;
  steps& s = *all.emplace_back(std::make_unique<steps>());
  auto hog = runtime->spawn([&s] {
    s.begun = true;
    while (!s.enough) std::this_thread::yield();
    for (;;) {
      try {
        coir::this_fiber::yield();
      } catch (...) {}
      ++s.calls;
    }
  });
  while (!s.begun) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(20ms));
  s.enough = true;
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(s.calls, 0);
  EXPECT_TRUE(hog.done());
  EXPECT_THROW(hog.get(), std::future_error);
}

// Every worker is a hog's, so what has begun and ignores its cancellation waits behind one.
TEST_P(end_test, abandoned_fibers_never_run_again) {
  struct steps {
    std::atomic<bool> told{false}, enough{false};
    std::atomic<unsigned> hogging{0};
    std::atomic<int> taken{0}, late{0}, destroyed{0};
  };
  static auto& all = *new std::vector<std::unique_ptr<steps>>;
  steps& s = *all.emplace_back(std::make_unique<steps>());
  // A lone worker's other fiber is ready when the hog comes; among more, it lets its worker search.
  const auto step = GetParam() == 1 ? 0us : 100us;
  auto walker = runtime->spawn([&s, step] {
    struct guard {
      steps& of;
      ~guard() { ++of.destroyed; }
    } g{s};
    while (s.late == 0) {
      try {
        coir::this_fiber::sleep_for(step);
      } catch (const coir::cancelled&) {}
      ++(s.told ? s.late : s.taken);
    }
  });
  while (s.taken == 0) std::this_thread::yield();
  std::vector<coir::task<void>> hogs;
  for (unsigned i = 0; i < GetParam(); ++i)
    hogs.push_back(runtime->spawn([&s] {
      ++s.hogging;
      while (!s.enough) std::this_thread::yield();
    }));
  while (s.hogging != GetParam()) std::this_thread::yield();
  EXPECT_FALSE(runtime->shutdown(50ms));
  EXPECT_THROW(walker.get(), std::future_error);
  s.told = true;
  s.enough = true;  // the hogs' workers come back to their loops
  const auto end = std::chrono::steady_clock::now() + 100ms;
  while (std::chrono::steady_clock::now() < end && s.late == 0) std::this_thread::yield();
  EXPECT_EQ(s.late.load(), 0);
  EXPECT_EQ(s.destroyed.load(), 0);
}

// Whoever is refused last may be who has to tell that nobody is left.
TEST_P(end_test, a_shutdown_ends_though_threads_never_cease_to_spawn) {
  const auto argument = std::make_shared<int>(1);
  std::atomic<std::uint64_t> ran{0}, refused{0};
  const bool slow = coir::fiber::sanitizers::address || coir::fiber::sanitizers::thread;
  for (int round = 0; round < (slow ? 3 : 40); ++round) {
    coir::runtime r(with(GetParam()), coir::sched::make_futex_drivers());
    std::atomic<bool> stop{false};
    std::atomic<int> begun{0};
    std::vector<std::thread> crowd;
    for (int i = 0; i < 3; ++i)
      crowd.emplace_back([&] {
        for (++begun; !stop;) try {
            r.spawn([argument, &ran] { ++ran; }).detach();
          } catch (const std::logic_error&) {
            ++refused;
          }
      });
    while (begun != 3) std::this_thread::yield();
    auto ended = std::async(std::launch::async, [&] { r.shutdown(); });
    if (ended.wait_for(20s) != std::future_status::ready) {
      std::fprintf(stderr, "round %d: the shutdown hangs with %llu fibers\n", round,
                   static_cast<unsigned long long>(r.metrics().fibers_alive));
      std::abort();
    }
    stop = true;
    for (auto& t : crowd) t.join();
    EXPECT_EQ(r.metrics().fibers_alive, 0U);
  }
  std::printf("%llu spawns ran and %llu were refused\n", static_cast<unsigned long long>(ran),
              static_cast<unsigned long long>(refused));
  EXPECT_EQ(argument.use_count(), 1) << "arguments are left";
}

// The interrupt of a waker that was held up on its way to it: the driver has to be there.
class slow_driver final : public coir::sched::driver {
 public:
  struct script {
    std::atomic<bool> slow{false}, entered{false}, ending{false}, destroyed{false};
    std::atomic<int> too_late{0};
  };
  slow_driver(std::unique_ptr<coir::sched::driver> d, script& s) : in_(std::move(d)), script_(s) {}
  ~slow_driver() override { script_.destroyed = true; }
  coir::sched::completion_contract contract() const noexcept override { return in_->contract(); }
  void attach() override { in_->attach(); }
  void detach() noexcept override { in_->detach(); }
  void poll(coir::sched::ready_list& r) noexcept override { in_->poll(r); }
  void wait(coir::clock::time_point d, coir::sched::ready_list& r) noexcept override {
    in_->wait(d, r);
  }
  bool busy() const noexcept override { return in_->busy(); }
  void interrupt() noexcept override {
    script& s = script_;
    if (!s.slow || coir::sched::current_host().kind == coir::sched::host_kind::worker || s.ending ||
        s.entered.exchange(true))
      return in_->interrupt();
    while (!s.ending) std::this_thread::yield();
    const auto end = std::chrono::steady_clock::now() + 100ms;
    while (!s.destroyed && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    if (s.destroyed)
      ++s.too_late;
    else
      in_->interrupt();
  }

 private:
  const std::unique_ptr<coir::sched::driver> in_;
  script& script_;
};
class slow_factory final : public coir::sched::driver_factory {
 public:
  explicit slow_factory(slow_driver::script& s) : script_(s) {}
  std::unique_ptr<coir::sched::driver> make() override {
    return std::make_unique<slow_driver>(in_->make(), script_);
  }
  const char* name() const noexcept override { return "slow"; }
  const char* reason() const noexcept override { return "a test wants it"; }

 private:
  std::unique_ptr<coir::sched::driver_factory> in_ = coir::sched::make_futex_drivers();
  slow_driver::script& script_;
};

TEST(slow_waker, a_runtime_waits_for_wakers_that_are_on_their_way_to_the_interrupt) {
  slow_driver::script s;
  coir::event e;
  std::thread waker;
  {
    coir::runtime r(with(2), coir::sched::parts(std::make_unique<slow_factory>(s)));
    std::atomic<bool> busy{true};
    auto hog = r.spawn([&] {
      while (busy) coir::this_fiber::yield();  // who takes the woken one up
    });
    auto woken = r.spawn([&] { e.wait(); });
    while (woken.state() != coir::task_state::parked) std::this_thread::yield();
    s.slow = true;
    waker = std::thread([&] {
      // Somebody asleep has to be there to be interrupted.
      while (!s.entered) {
        e.set();
        if (!s.entered) r.spawn([] {}).detach();
        std::this_thread::sleep_for(1ms);
        if (s.ending) break;
      }
    });
    while (!s.entered) std::this_thread::yield();
    woken.wait();
    busy = false;
    hog.wait();
    s.ending = true;
  }
  waker.join();
  EXPECT_EQ(s.too_late.load(), 0) << "the runtime went away under a waker";
}

TEST(end_death, past_shutdown_limit_the_process_ends_and_names_the_fibers) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        coir::options o = with(2);
        o.shutdown_limit = 20ms;
        coir::runtime r(o, coir::sched::make_futex_drivers());
        stubbornness how;
        auto t = r.spawn({.name = "stubborn"}, [&how] { be_stubborn(how); });
        while (!how.begun) std::this_thread::yield();
        r.shutdown();
      },
      "coir: 1 fibers ignore cancellation");
}

// F8: what static destructors may still do.
void end_with_static_destructors() {
  static auto& ended = *new coir::runtime(with(2), coir::sched::make_futex_drivers());
  ended.shutdown();
  static struct last {
    ~last() {
      int said_no = 0;
      try {
        coir::spawn([] {}).detach();
      } catch (const std::system_error& e) {
        said_no += e.code() == std::errc::operation_not_permitted;
      }
      try {
        ended.spawn([] {}).detach();
      } catch (const std::logic_error&) {
        ++said_no;
      }
      coir::runtime late(with(2), coir::sched::make_futex_drivers());
      std::_Exit(said_no + late.block_on([] { return coir::spawn([] { return 40; }).get(); }));
    }
  } guard;
  std::exit(1);
}

TEST(end_death, a_static_destructor_is_refused_by_what_has_ended_and_may_have_its_own_runtime) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(end_with_static_destructors(), testing::ExitedWithCode(42), "");
}

TEST(end_death, a_static_runtime_unwinds_its_fibers_at_exit) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        static coir::runtime r(with(2), coir::sched::make_futex_drivers());
        static std::atomic<bool> begun{false};
        r.spawn([] {
           struct tell {
             ~tell() { std::fputs("unwound\n", stderr); }
           } guard;
           begun = true;
           coir::event().wait();
         }).detach();
        while (!begun) std::this_thread::yield();
        std::exit(7);
      },
      testing::ExitedWithCode(7), "^unwound\n$");
}

// What a child of fork() does with its parent's runtime: the exit status says how far it came.
template <class Child>
int status_of(Child&& child) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(child());
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST_P(end_test, a_child_of_fork_is_refused_and_may_have_a_runtime_of_its_own) {
  if (coir::fiber::sanitizers::thread)
    GTEST_SKIP() << "ThreadSanitizer allows no threads in a child of a threaded process";
  const int status = status_of([&] {
    try {
      auto t = runtime->spawn([] {});
      return 1;
    } catch (const std::logic_error& e) {
      if (std::string(e.what()).find("does not survive fork") == std::string::npos) return 2;
    }
    runtime->shutdown();  // says no more, and returns
    coir::runtime own(with(GetParam()), coir::sched::make_futex_drivers());
    return own.block_on([] { return 42; });
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(runtime->block_on([] { return 3; }), 3) << "the parent goes on";
}

TEST_P(end_test, a_fiber_that_forks_may_exec_but_not_park_in_the_child) {
  const int executed = runtime->block_on([] {
    return status_of([] {
      ::execl("/bin/true", "true", static_cast<char*>(nullptr));
      return 1;
    });
  });
  EXPECT_TRUE(WIFEXITED(executed) && WEXITSTATUS(executed) == 0);
  if (coir::fiber::sanitizers::thread) return;  // ends the child in a way of its own
  const int parked = runtime->block_on([] {
    return status_of([] {
      std::fclose(stderr);  // the message is for somebody else
      coir::this_fiber::sleep_for(1ms);
      return 0;
    });
  });
  EXPECT_TRUE(WIFSIGNALED(parked) && WTERMSIG(parked) == SIGABRT);
}

}  // namespace
