// The environment's options, bad ones named; run() and how many workers it takes.
#include <sched.h>

#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <cstdlib>
#include <map>

#include "runtime_fixture.hpp"
#include "sched/processors.hpp"

namespace coir::testing {
namespace {

// The variables of the library, as they were when it is destroyed.
class options_test : public ::testing::Test {
 protected:
  options_test() {
    for (const char* name : {"COIR_WORKERS", "COIR_STACK_SIZE", "COIR_REACTOR", "COIR_IDLE_POLL",
                             "COIR_LOG_REACTOR"}) {
      const char* const value = std::getenv(name);
      before_[name] = value != nullptr ? value : "";
      ::unsetenv(name);
    }
  }
  ~options_test() override {
    for (const auto& [name, value] : before_)
      value.empty() ? ::unsetenv(name.c_str()) : ::setenv(name.c_str(), value.c_str(), 1);
  }

  static void expect_refused(const char* name, const char* value) {
    ::setenv(name, value, 1);
    try {
      (void)options::from_environment();
      ADD_FAILURE() << name << "=" << value << " was taken";
    } catch (const std::invalid_argument& e) {
      const std::string what = e.what();
      EXPECT_NE(what.find(name), std::string::npos) << what;
      EXPECT_NE(what.find(value), std::string::npos) << what;
    }
    ::unsetenv(name);
  }

 private:
  std::map<std::string, std::string> before_;
};

TEST_F(options_test, an_empty_environment_gives_the_defaults) {
  const options o = options::from_environment();
  EXPECT_EQ(o.workers, 0U);
  EXPECT_EQ(o.stack_size, 256U * 1024);
  EXPECT_EQ(o.reactor, reactor_kind::automatic);
  EXPECT_EQ(o.idle_poll, 20us);
  EXPECT_FALSE(o.measure_stacks);
  EXPECT_EQ(o.blocking_threads, 512U);
}

TEST_F(options_test, variables_change_the_defaults_and_empty_ones_do_not) {
  ::setenv("COIR_WORKERS", "3", 1);
  ::setenv("COIR_STACK_SIZE", "65536", 1);
  ::setenv("COIR_REACTOR", "epoll", 1);
  ::setenv("COIR_IDLE_POLL", "0", 1);
  ::setenv("COIR_LOG_REACTOR", "1", 1);
  options o = options::from_environment();
  EXPECT_EQ(o.workers, 3U);
  EXPECT_EQ(o.stack_size, 65536U);
  EXPECT_EQ(o.reactor, reactor_kind::epoll);
  EXPECT_EQ(o.idle_poll, 0us);
  EXPECT_TRUE(o.log_reactor);
  ::setenv("COIR_WORKERS", "", 1);
  ::setenv("COIR_REACTOR", "", 1);
  o = options::from_environment();
  EXPECT_EQ(o.workers, 0U);
  EXPECT_EQ(o.reactor, reactor_kind::automatic);
}

TEST_F(options_test, a_bad_value_is_an_invalid_argument_that_names_its_variable) {
  for (const char* bad :
       {"0x", "0x10", "-1", "two", "1.5", " 2", "2 ", "+2", "1025", "99999999999999999999"})
    expect_refused("COIR_WORKERS", bad);
  for (const char* bad : {"0", "64k", "-4096", "1e6", "18446744073709551616"})
    expect_refused("COIR_STACK_SIZE", bad);
  for (const char* bad : {"Epoll", "io_uring", "kqueue", " epoll", "0"})
    expect_refused("COIR_REACTOR", bad);
  for (const char* bad : {"-1", "20us", "1000001"}) expect_refused("COIR_IDLE_POLL", bad);
  for (const char* bad : {"yes", "2"}) expect_refused("COIR_LOG_REACTOR", bad);
}

TEST_F(options_test, run_takes_them_from_the_environment_and_fails_before_main_runs) {
  ::setenv("COIR_REACTOR", "abacus", 1);
  bool ran = false;
  EXPECT_THROW(coir::run([&] { ran = true; }), std::invalid_argument);
  EXPECT_FALSE(ran);
  ::setenv("COIR_REACTOR", "epoll", 1);
  ::setenv("COIR_STACK_SIZE", "18446744073709551615", 1);
  EXPECT_THROW(coir::run([&] { ran = true; }), std::invalid_argument);
  EXPECT_FALSE(ran);
  ::setenv("COIR_STACK_SIZE", "1", 1);
  ::setenv("COIR_WORKERS", "2", 1);
  EXPECT_EQ(coir::run([] { return runtime::current().metrics().workers; }), 2U);
}

TEST_F(options_test, too_many_workers_are_refused) {
  options o;
  o.workers = 100'000;
  EXPECT_THROW(make_runtime(o), std::invalid_argument);
}

// F35
TEST_F(options_test, an_idle_poll_for_ever_keeps_nobody_from_ending) {
  for (const std::chrono::microseconds poll :
       {std::chrono::microseconds(1h), std::chrono::microseconds::max()}) {
    options o;
    o.workers = 2;
    o.idle_poll = poll;
    EXPECT_EQ(run(o,
                  [] {
                    this_fiber::sleep_for(std::chrono::milliseconds(1));
                    return 6;
                  }),
              6);
  }
}

TEST_F(options_test, run_returns_or_throws_what_main_does) {
  options o;
  o.workers = 2;
  o.reactor = reactor_kind::epoll;
  EXPECT_EQ(*run(o, [] { return std::make_unique<int>(3); }), 3);
  run(o, [] {});
  EXPECT_THROW(run(o, [] { throw std::out_of_range("main"); }), std::out_of_range);
}

// F29
TEST_F(options_test, run_inside_of_run_is_a_logic_error) {
  options o;
  o.workers = 2;
  o.reactor = reactor_kind::epoll;
  run(o, [&] { EXPECT_THROW(run(o, [] {}), std::logic_error); });
}

TEST_F(options_test, when_main_returns_the_other_fibers_are_cancelled_and_unwound) {
  for (unsigned workers : {1U, 2U, 4U}) {
    options o;
    o.workers = workers;
    o.reactor = reactor_kind::epoll;
    std::atomic<int> unwound{0}, reported{0};
    o.on_unhandled = [&](const std::exception_ptr&, std::string_view name) {
      EXPECT_EQ(name, "failing");
      ++reported;
    };
    run(o, [&] {
      event started;
      spawn([&unwound, &started] {
        struct count {
          std::atomic<int>& n;
          ~count() { ++n; }
        } guard{unwound};
        started.set();
        this_fiber::sleep_for(std::chrono::hours(1));
      }).detach();
      started.wait();
      event failing;
      spawn({.name = "failing", .stack_size = 0, .pinned = false}, [&failing] {
        failing.set();
        try {
          this_fiber::sleep_for(std::chrono::hours(1));
        } catch (const cancelled&) {
          throw std::runtime_error("while it unwinds");
        }
      }).detach();
      failing.wait();
    });
    EXPECT_EQ(unwound.load(), 1);
    EXPECT_EQ(reported.load(), 1);
  }
}

// --- how many workers

TEST_F(options_test, the_number_of_workers_follows_the_affinity_mask) {
  cpu_set_t mask;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mask, &mask), 0);
  const int allowed = CPU_COUNT(&mask);
  EXPECT_LE(sched::usable_processors(), static_cast<unsigned>(allowed));
  const int status = in_child(20s, [] {
    cpu_set_t now, one;
    ::sched_getaffinity(0, sizeof now, &now);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &now)) {
        CPU_SET(i, &one);
        break;
      }
    ::sched_setaffinity(0, sizeof one, &one);
    if (sched::usable_processors() != 1) return 1;
    return make_runtime(0)->metrics().workers == 1 ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace coir::testing
