// F34: fibers that join each other in a circle are named on stderr once nothing else can happen.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/async.hpp>
#include <coir/sync/event.hpp>

#include <fcntl.h>
#include <poll.h>

#include <string>

#include "../sync/waiting.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

// What the process writes on stderr, while one lives.
class stderr_lines {
 public:
  stderr_lines() : before_(::fcntl(2, F_DUPFD_CLOEXEC, 0)) {
    EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0);
    ::dup2(ends_[1], 2);
  }
  ~stderr_lines() {
    ::dup2(before_, 2);
    for (int fd : {before_, ends_[0], ends_[1]}) ::close(fd);
  }
  // Waits for it; empty: none has come for very long.
  std::string next() {
    std::string line;
    for (char c = 0; c != '\n';) {
      pollfd readable{ends_[0], POLLIN, 0};
      if (::poll(&readable, 1, 60'000) != 1 || ::read(ends_[0], &c, 1) != 1) return {};
      line += c;
    }
    return line;
  }
  bool another() {
    pollfd readable{ends_[0], POLLIN, 0};
    return ::poll(&readable, 1, 0) == 1;
  }

 private:
  const int before_;
  int ends_[2];
};

class deadlock_test : public ::testing::TestWithParam<unsigned> {
 protected:
  deadlock_test() {
    options o;
    o.workers = GetParam();
    made_ = std::make_unique<runtime>(std::move(o), sched::make_futex_drivers());
  }
  runtime& rt() { return *made_; }

 private:
  std::unique_ptr<runtime> made_;
};
INSTANTIATE_TEST_SUITE_P(workers, deadlock_test, ::testing::Values(1U, 2U, 4U, 8U));

std::string named(const task<void>& t, const char* name) {
  return "fiber " + std::to_string(t.id().value()) + " '" + name + "'";
}

TEST_P(deadlock_test, tasks_that_join_each_other_are_named_once_and_those_who_wait_for_them_not) {
  stderr_lines said;
  event go;
  task_ref<void> first;
  auto bee = rt().spawn({.name = "bee"}, [&] {
    go.wait();
    first.wait();
  });
  auto ant = rt().spawn({.name = "ant"}, [r = task_ref<void>(bee)] { r.wait(); });
  auto fly = rt().spawn({.name = "fly"}, [r = task_ref<void>(ant)] { r.wait(); });
  first = task_ref<void>(ant);
  go.set();
  EXPECT_EQ(said.next(), "coir: deadlock: " + named(bee, "bee") + " waits for the end of " +
                             named(ant, "ant") + ", which waits for the end of " +
                             named(bee, "bee") + "; they wait until one of them is cancelled\n");
  EXPECT_TRUE(ant.cancel());
  bee.get();
  fly.get();
  EXPECT_TRUE(ant.error() != nullptr);
  EXPECT_FALSE(said.another());
}

TEST_P(deadlock_test, a_circle_over_three_of_which_one_is_waited_for_by_its_future_is_found) {
  stderr_lines said;
  event go;
  task_ref<void> first;
  task<void> middle, front;
  shared_future<void> back;
  rt().block_on([&] {
    back = async([&] {
             this_fiber::set_name("back");
             go.wait();
             first.wait();
           }).share();
    middle = spawn({.name = "middle"}, [&] { back.wait(); });
    front = spawn({.name = "front"}, [r = task_ref<void>(middle)] { r.wait(); });
    first = task_ref<void>(front);
  });
  go.set();
  const std::string line = said.next();
  for (const char* name : {"'back'", "'middle'", "'front'"})
    EXPECT_NE(line.find(name), std::string::npos) << line;
  middle.cancel();
  front.get();
  back.get();
  EXPECT_THROW(middle.get(), cancelled);
}

}  // namespace
}  // namespace coir::testing
