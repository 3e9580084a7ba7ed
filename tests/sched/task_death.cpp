// Misuse that stops the process, with a message, in every build type.
#include <coir/sync/event.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

// A task that knows its own handle.
void join_oneself(unsigned workers) {
  auto r = make_runtime(workers);
  auto self = std::make_shared<task<void>>();
  event known;
  *self = r->spawn([&, self] {
    known.wait();
    self->wait();
  });
  known.set();
  self->wait();
}

// F34
TEST(task_death, joining_oneself) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(join_oneself(1), "coir: fiber [0-9]+ joins itself");
  EXPECT_DEATH(join_oneself(4), "coir: fiber [0-9]+ joins itself");
}

TEST(task_death, destroying_ones_own_handle) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        auto r = make_runtime(2);
        auto* self = new task<void>;
        event known;
        *self = r->spawn([&] {
          known.wait();
          delete self;
        });
        known.set();
        this_fiber::sleep_for(5s);
      },
      "coir: fiber [0-9]+ joins itself");
}

// F16: the thread is not the fiber's to end.
TEST(task_death, ending_the_thread_of_a_worker) {
  if (sanitized) GTEST_SKIP() << "a sanitizer ends threads in a way of its own";
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(make_runtime(2)->block_on([] { ::pthread_exit(nullptr); }),
               "exception not rethrown");
}

// Its destructor cannot throw what shutdown() says, and could not wait.
TEST(task_death, destroying_a_runtime_on_a_fiber) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        auto mine = make_runtime(1);
        auto other = make_runtime(1);
        mine->block_on([&] { other.reset(); });
      },
      "coir: a runtime was destroyed on a fiber");
}

}  // namespace
}  // namespace coir::testing
