// Which rung of the ladder is taken, and what is said when one is refused.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>

#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/driver_factory.hpp"
#include "io/probe.hpp"
#include "io/ring.hpp"
#include "io_fixture.hpp"

// liburing's, so that a test can refuse the rings that come after some.
namespace {
std::atomic<int> rings_allowed{1'000'000}, refusal{0};
}
extern "C" int io_uring_queue_init_params(unsigned entries, io_uring* ring, io_uring_params* how) {
  using function = int (*)(unsigned, io_uring*, io_uring_params*);
  static const auto real =
      reinterpret_cast<function>(::dlsym(RTLD_NEXT, "io_uring_queue_init_params"));
  if (rings_allowed.fetch_sub(1) <= 0 || real == nullptr) return -refusal;
  return real(entries, ring, how);
}

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

// What /proc says of the kernel's table; 0: it does not.
rlim_t descriptors_that_have_room() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (rlim_t room = 0; word == "FDSize:" && status >> room) return room;
  return 0;
}

// Else the kernel would stop a worker for milliseconds while it does.
TEST(ladder, the_table_of_descriptors_does_not_grow_once_there_are_workers) {
  if (descriptors_that_have_room() == 0) GTEST_SKIP() << "nobody says how large it is";
  in_child([] {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 5000);
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
    const rlim_t before = descriptors_that_have_room();
    const std::size_t open = open_descriptors();
    runtime r(with(reactor_kind::epoll));
    return before < limit.rlim_cur && descriptors_that_have_room() >= limit.rlim_cur &&
           open_descriptors() < open + 10;
  });
}

TEST(ladder, a_forced_rung_is_the_one_that_runs) {
  if (uring_is_denied() || !io::probe_uring().usable) GTEST_SKIP() << "io_uring is refused";
  for (const reactor_kind k :
       {reactor_kind::uring, reactor_kind::uring_oneshot, reactor_kind::epoll}) {
    runtime r(with(k));
    EXPECT_EQ(r.metrics().reactor, name_of(k));
  }
}

// F41
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

// F41: a ring that is refused when others have been made.
class later_ring : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (uring_is_denied() || !io::probe_uring().usable) GTEST_SKIP() << "io_uring is refused";
    std::thread([] {}).join();  // a sanitizer starts one of its own with it
    descriptors_ = open_descriptors();
    rings_allowed = 1 + 2;  // a trial, and two workers'
    refusal = GetParam();
  }
  void TearDown() override {
    if (IsSkipped()) return;
    rings_allowed = 1'000'000;
    EXPECT_EQ(open_descriptors(), descriptors_) << "a descriptor is left";
  }
  static options four(reactor_kind k) {
    options o = with(k);
    o.workers = 4;
    return o;
  }

 private:
  std::size_t descriptors_ = 0;
};
INSTANTIATE_TEST_SUITE_P(, later_ring, ::testing::Values(EMFILE, ENOMEM, EPERM),
                         [](const auto& i) { return std::string(strerrorname_np(i.param)); });

TEST_P(later_ring, sends_the_whole_runtime_to_epoll_and_says_whose_was_refused) {
  runtime r(four(reactor_kind::automatic));
  const auto m = r.metrics();
  std::printf("%s: %s\n", m.reactor.c_str(), m.reactor_reason.c_str());
  EXPECT_EQ(m.reactor, "epoll");
  EXPECT_NE(m.reactor_reason.find("worker 2 of 4"), std::string::npos);
  EXPECT_NE(m.reactor_reason.find("io_uring_setup"), std::string::npos);
  // Each worker has one of the same kind: sockets go from one to the other.
  std::vector<task<bool>> all;
  for (int i = 0; i < 16; ++i)
    all.push_back(r.spawn([] {
      auto [a, b] = tcp_pair();
      char c[4];
      for (int n = 0; n < 50; ++n) {
        a.write("ping");
        b.read_exactly(c);
        this_fiber::yield();
      }
      return std::string_view(c, 4) == "ping";
    }));
  for (auto& t : all) EXPECT_TRUE(t.get());
}

TEST_P(later_ring, is_an_error_of_the_constructor_where_uring_was_asked_for) {
  for (const reactor_kind k : {reactor_kind::uring, reactor_kind::uring_oneshot}) {
    rings_allowed = 1 + 2;
    try {
      runtime r(four(k));
      ADD_FAILURE() << "it runs on " << r.metrics().reactor;
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code().value(), GetParam());
      EXPECT_NE(std::string(e.what()).find("io_uring_setup"), std::string::npos) << e.what();
    }
  }
  rings_allowed = 1'000'000;
  runtime again(four(reactor_kind::uring));
  EXPECT_EQ(again.block_on([] { return 3; }), 3);
}

// Nothing is left for epoll either: the limit is named, and no thread or descriptor stays.
TEST(ladder, too_few_descriptors_for_all_workers_is_an_error_that_names_the_limit) {
  for (const reactor_kind k : {reactor_kind::automatic, reactor_kind::epoll})
    in_child([k] {
      const std::size_t before = open_descriptors();
      const rlimit few{open_descriptors() + 2, open_descriptors() + 2};
      ::setrlimit(RLIMIT_NOFILE, &few);
      options o = with(k);
      o.workers = 8;
      try {
        runtime r(o);
      } catch (const std::system_error& e) {
        std::printf("%s: %s\n", name_of(k), e.what());
        std::fflush(stdout);
        return e.code() == std::errc::too_many_files_open &&
               std::string(e.what()).find("RLIMIT_NOFILE") != std::string::npos &&
               open_descriptors() == before;
      }
      return false;
    });
}

// F42
TEST(ladder, which_way_each_operation_goes_is_told) {
  io::uring_capabilities kernel = io::probe_uring();
  if (!kernel.usable) GTEST_SKIP() << kernel.reason;
  const std::string all = io::describe(kernel, true);
  std::printf("%s\n", all.c_str());
  EXPECT_NE(all.find("by the ring: receive, send"), std::string::npos);
  EXPECT_NE(all.find("by threads: "), std::string::npos);
  kernel.operations &= ~(std::uint64_t{1} << IORING_OP_RECV);
  kernel.files = false;
  const std::string less = io::describe(kernel, false);
  EXPECT_NE(less.find("by poll and system call: receive;"), std::string::npos) << less;
  EXPECT_NE(less.find("by threads: files, "), std::string::npos) << less;
  EXPECT_EQ(less.find("multishot"), std::string::npos) << less;
  EXPECT_EQ(less.find('\n'), std::string::npos);
}

TEST(ladder, a_line_on_request_says_what_runs_and_why) {
  for (const reactor_kind k : {reactor_kind::automatic, reactor_kind::epoll}) {
    options o = with(k);
    ::testing::internal::CaptureStderr();
    { runtime silent(o); }
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
    o.log_reactor = true;
    ::testing::internal::CaptureStderr();
    runtime r(o);
    const auto m = r.metrics();
    EXPECT_EQ(::testing::internal::GetCapturedStderr(),
              "coir: 2 workers on " + m.reactor + ": " + m.reactor_reason + "\n");
  }
}

TEST(ladder, refusals_are_explained) {
  EXPECT_NE(io::explain_refusal("io_uring_setup", ENOMEM).find("RLIMIT_MEMLOCK"),
            std::string::npos);
  EXPECT_NE(io::explain_refusal("io_uring_setup", EMFILE).find("RLIMIT_NOFILE"), std::string::npos);
}

}  // namespace
}  // namespace coir::testing
