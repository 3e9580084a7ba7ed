// F54: a descriptor of a reactor that other code has closed. What a worker cannot do without stops
// the process and is named; nobody turns for ever.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/driver_factory.hpp"
#include "io/probe.hpp"
#include "io/uring_reactor.hpp"
#include "io_fixture.hpp"

namespace coir::testing {
namespace {

constexpr char named[] =
    "coir: the (io_uring|epoll instance|doorbell) of a worker, descriptor [0-9]+: .*; was it "
    "closed by other code";

// By the system call: that this is a race is the case that is meant, and nothing that
// ThreadSanitizer has to say.
void close_all_but_the_standard_ones() {
  for (int fd = 3; fd < 1024; ++fd) ::syscall(SYS_close, fd);
}
void fill_with_other_files() {
  for (int i = 0; i < 64; ++i) (void)::open("/dev/null", O_RDWR | O_CLOEXEC);
}

// Timers and wakes go on; a process that hangs or turns is ended without the message.
void lose(const rung& r, bool used_again) {
  ::alarm(sanitized ? 60 : 20);
  options o;
  o.workers = r.workers;
  o.reactor = r.kind;
  runtime rt(o);
  auto sleeper = rt.spawn([] {
    for (;;) this_fiber::sleep_for(1ms);
  });
  rt.block_on([] {});
  close_all_but_the_standard_ones();
  if (used_again) fill_with_other_files();
  for (;;) rt.block_on([] { this_fiber::sleep_for(1ms); });
}

class lost_descriptor_death : public ::testing::TestWithParam<rung> {
  void SetUp() override { ::testing::GTEST_FLAG(death_test_style) = "threadsafe"; }
};
INSTANTIATE_TEST_SUITE_P(rungs, lost_descriptor_death, ::testing::ValuesIn(rungs({1, 4})),
                         rung_name);

TEST_P(lost_descriptor_death, it_is_named) { EXPECT_DEATH(lose(GetParam(), false), named); }

TEST_P(lost_descriptor_death, it_is_named_though_its_number_is_another_files) {
  EXPECT_DEATH(lose(GetParam(), true), named);
}

int find_eventfd() {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone).string().find("eventfd") !=
        std::string::npos)
      return std::atoi(entry.path().filename().c_str());
  }
  return -1;
}

// The read of an eventfd that is not there fails at once: armed again, it would for ever.
TEST(lost_doorbell_death, a_read_of_it_that_fails_is_not_armed_again) {
  if (uring_is_denied()) GTEST_SKIP() << "io_uring is refused";
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        ::alarm(20);
        io::uring_options o;
        o.kernel = io::probe_uring();
        o.kernel.message_by_register = false;
        io::uring_reactor d(o);
        ::close(find_eventfd());
        d.attach();
        sched::ready_list none;
        for (;;) d.wait(clock::now() + 1s, none);
      },
      "coir: the doorbell of a worker, descriptor [0-9]+: Bad file descriptor");
}

}  // namespace
}  // namespace coir::testing
