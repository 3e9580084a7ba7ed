// F53: fork in a process whose runtime has sockets open. The parent goes on; the child may exec, or
// have a runtime of its own, and is told about everything else.
#include <sys/wait.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class fork_test : public io_test {
 protected:
  // What a child made of it: its exit status, or minus the signal that ended it.
  template <class Child>
  static int status_of(Child&& child) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(20);
      ::_exit(child());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
};
INSTANTIATE_TEST_SUITE_P(rungs, fork_test, ::testing::ValuesIn(rungs({1, 2, 4})), rung_name);

TEST_P(fork_test, a_parent_with_io_in_flight_is_unaffected) {
  if (sanitized) GTEST_SKIP() << "a sanitizer's locks may be held by a thread that is no more";
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto echo = spawn([&b = b] {
      char c[8];
      while (const std::size_t n = b.read_some(c)) b.write(std::string_view(c, n));
    });
    await_parked(echo);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(status_of([] {
                  ::execl("/bin/true", "true", static_cast<char*>(nullptr));
                  return 1;
                }),
                0);
      EXPECT_EQ(status_of([] {
                  try {
                    spawn([] {}).detach();
                  } catch (const std::logic_error& e) {
                    const bool said = std::string_view(e.what()).find("does not survive fork") !=
                                      std::string_view::npos;
                    return said ? 42 : 2;
                  }
                  return 1;
                }),
                42);
      EXPECT_EQ(status_of([] {
                  ::close(2);  // its message is for somebody else
                  this_fiber::sleep_for(1h);
                  return 1;
                }),
                -SIGABRT);
      char c[4];
      a.write("ping");
      a.read_exactly(c);
      EXPECT_EQ(std::string_view(c, 4), "ping") << "after child " << i;
    }
    a.shutdown_write();
    echo.get();
  });
}

TEST_P(fork_test, a_child_of_a_thread_may_have_a_runtime_of_its_own) {
  if (fiber::sanitizers::thread)
    GTEST_SKIP() << "ThreadSanitizer allows no threads in a child of a threaded process";
  options o;
  o.workers = GetParam().workers;
  o.reactor = GetParam().kind;
  runtime parent(o);
  const auto ping = [](runtime& r) {
    return r.block_on([] {
      auto [a, b] = tcp_pair();
      char c[4];
      a.write("ping");
      b.read_exactly(c);
      return std::string_view(c, 4) == "ping" ? 42 : 1;
    });
  };
  EXPECT_EQ(ping(parent), 42);
  EXPECT_EQ(status_of([&] {
              runtime own(o);
              return ping(own);
            }),
            42);
  EXPECT_EQ(ping(parent), 42);
}

}  // namespace
}  // namespace coir::testing
