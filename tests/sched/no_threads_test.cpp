// A process that may start no more threads: RLIMIT_NPROC, as `ulimit -u` sets it. What cannot be
// had is named, with the cause and the remedy; what can wait for another thread does.
#include <cerrno>
#include <cstring>
#include <iostream>
#include <string>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <coir/sched/gather.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sched/signal_set.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/offload_async.hpp>

#include "few_threads.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

// What f's refusal says; 99: it was not refused.
template <class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const std::system_error& e) {
    if (e.code() == std::errc::resource_unavailable_try_again) return e.what();
  }
  std::_Exit(99);
}
[[noreturn]] void say(const std::string& what) {
  std::cerr << what << '\n';
  std::_Exit(0);
}

// Others' threads count too for a user who has some, so only whether there may be any can be said.
bool may_count() { return ::geteuid() == 0; }

constexpr const char* why = "ulimit -u: .*pids.max.*Resource temporarily unavailable";

TEST(no_threads, a_runtime_names_the_worker_that_cannot_be_started_the_cause_and_the_remedy) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!threads_can_be_limited()) GTEST_SKIP() << "threads cannot be limited here";
  EXPECT_EXIT(
      {
        limit_threads(1);
        say(refusal([] { make_runtime(4); }));
      },
      ::testing::ExitedWithCode(0),
      std::string("coir: worker thread 1 of 4 cannot be started: .*") + "ulimit -u: 1\\).*" +
          "COIR_WORKERS.*Resource temporarily unavailable");
  if (!may_count() || sanitized) return;
  EXPECT_EXIT(
      {
        limit_threads(1 + 2);
        const std::string said = refusal([] { make_runtime(4); });
        if (running_threads() != 1) std::_Exit(1);
        if (make_runtime(2)->block_on([] { return 3; }) != 3) std::_Exit(2);
        say(said);
      },
      ::testing::ExitedWithCode(0),
      std::string("worker thread 3 of 4 cannot be started: .*") + why);
}

TEST(no_threads, offload_says_that_it_can_have_none_and_works_when_it_can) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!threads_can_be_limited()) GTEST_SKIP() << "threads cannot be limited here";
  EXPECT_EXIT(
      {
        if (!become_somebody()) std::_Exit(97);
        std::string said;
        make_runtime(1)->block_on([&] {
          allow_threads(1);
          bool ran = false;
          said = refusal([&] { offload([&] { ran = true; }); });
          if (ran) std::_Exit(1);
          refusal([&] { offload_async([&] { ran = true; }).get(); });
          if (ran) std::_Exit(2);
          refusal([] { signal_set({SIGUSR1}).wait(); });
          rlimit limit{};
          ::getrlimit(RLIMIT_NPROC, &limit);
          allow_threads(limit.rlim_max);
          if (offload([] { return 3; }) != 3) std::_Exit(3);
        });
        say(said);
      },
      ::testing::ExitedWithCode(0),
      std::string("coir: a thread for offload\\(\\) cannot be started: .*") + why);
}

TEST(no_threads, where_one_can_be_had_offload_makes_do_with_it) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (!threads_can_be_limited()) GTEST_SKIP() << "threads cannot be limited here";
  EXPECT_EXIT(
      {
        if (!become_somebody()) std::_Exit(97);
        make_runtime(1)->block_on([] {
          offload([] {});
          allow_threads(1);
          std::vector<std::function<int()>> many;
          for (int i = 0; i < 50; ++i)
            many.emplace_back([i] {
              return offload([i] {
                ::usleep(100);
                return i;
              });
            });
          int sum = 0;
          for (const int i : gather(many)) sum += i;
          if (sum != 49 * 50 / 2) std::_Exit(1);
          if (runtime::current().metrics().blocking_threads != 1) std::_Exit(2);
        });
        say("all ran");
      },
      ::testing::ExitedWithCode(0), "all ran");
}

}  // namespace
}  // namespace coir::testing
