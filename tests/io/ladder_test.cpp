// Which rung of the ladder is taken, and what is said when one is refused.
#include <cerrno>
#include <functional>

#include <sys/wait.h>
#include <unistd.h>

#include "io/driver_factory.hpp"
#include "io/probe.hpp"
#include "io_fixture.hpp"

namespace coir::testing {
namespace {

// In a child, because a filter cannot be taken off again: its exit status is whether `f` held.
void in_child(const std::function<bool()>& f) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(f() ? 0 : 1);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

options with(reactor_kind k) {
  options o;
  o.workers = 2;
  o.reactor = k;
  return o;
}

TEST(ladder, automatic_is_uring_where_the_kernel_allows_it) {
  const auto kernel = io::probe_uring();
  const auto made = io::make_driver_factory(with(reactor_kind::automatic));
  EXPECT_EQ(std::string(made->name()).starts_with("uring"), kernel.usable) << kernel.reason;
  EXPECT_STRNE(made->reason(), "");
}

TEST(ladder, a_forced_rung_is_the_one_that_runs) {
  if (uring_is_denied()) GTEST_SKIP();
  for (const reactor_kind k :
       {reactor_kind::uring, reactor_kind::uring_oneshot, reactor_kind::epoll}) {
    runtime r(with(k));
    EXPECT_EQ(r.metrics().reactor, name_of(k));
  }
}

TEST(ladder, a_refusal_by_seccomp_leads_to_epoll_and_says_why) {
  for (const int error : {EPERM, ENOSYS})
    in_child([error] {
      deny_uring(error);
      runtime r(with(reactor_kind::automatic));
      const auto m = r.metrics();
      std::printf("%s: %s\n", m.reactor.c_str(), m.reactor_reason.c_str());
      return m.reactor == "epoll" && m.reactor_reason.find("io_uring_setup") != std::string::npos &&
             m.reactor_reason.find("seccomp") != std::string::npos &&
             m.reactor_reason.find('\n') == std::string::npos && r.block_on([] {
               auto [a, b] = tcp_pair();
               char buffer[4];
               a.write("ping");
               b.read_exactly(buffer);
               return std::string_view(buffer, 4) == "ping";
             });
    });
}

TEST(ladder, a_forced_rung_that_is_refused_throws_the_cause_and_the_remedy) {
  for (const reactor_kind k : {reactor_kind::uring, reactor_kind::uring_oneshot})
    in_child([k] {
      deny_uring(EPERM);
      try {
        runtime r(with(k));
      } catch (const std::system_error& e) {
        return e.code().value() == EPERM &&
               std::string(e.what()).find("seccomp") != std::string::npos;
      }
      return false;
    });
  try {
    runtime r(with(reactor_kind::iocp));
    ADD_FAILURE();
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::operation_not_supported);
  }
}

TEST(ladder, refusals_are_explained) {
  EXPECT_NE(io::explain_refusal("io_uring_setup", ENOMEM).find("RLIMIT_MEMLOCK"),
            std::string::npos);
  EXPECT_NE(io::explain_refusal("io_uring_setup", EMFILE).find("RLIMIT_NOFILE"), std::string::npos);
}

}  // namespace
}  // namespace coir::testing
