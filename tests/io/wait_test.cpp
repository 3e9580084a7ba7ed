// wait_readable and wait_writable: descriptors that are not ours.
#include <fcntl.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class wait_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, wait_test, every_rung(), rung_name);

struct pipe_ends {
  int read = -1, write = -1;
  pipe_ends() {
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    read = fds[0];
    write = fds[1];
  }
  ~pipe_ends() {
    ::close(read);
    ::close(write);
  }
  pipe_ends(const pipe_ends&) = delete;
  pipe_ends& operator=(const pipe_ends&) = delete;
};

TEST_P(wait_test, a_pipe_becomes_readable) {
  on_fiber([] {
    pipe_ends p;
    auto waiting = spawn([&] { wait_readable(p.read); });
    await_parked(waiting);
    EXPECT_EQ(::write(p.write, "x", 1), 1);
    waiting.get();
    wait_readable(p.read);  // still
    wait_writable(p.write);
  });
}

TEST_P(wait_test, several_fibers_wait_for_one_descriptor) {
  on_fiber([] {
    pipe_ends p;
    std::vector<task<void>> all;
    for (int i = 0; i < 5; ++i) {
      all.push_back(spawn([&] { wait_readable(p.read); }));
      await_parked(all.back());
    }
    EXPECT_EQ(::write(p.write, "x", 1), 1);
    for (auto& t : all) t.get();
  });
}

TEST_P(wait_test, a_hang_up_is_readiness) {
  on_fiber([] {
    pipe_ends p;
    auto waiting = spawn([&] { wait_readable(p.read); });
    await_parked(waiting);
    const int copy = ::dup(p.read);
    ::close(p.write);
    waiting.get();
    p.write = copy;
  });
}

TEST_P(wait_test, regular_files_are_ready_and_bad_descriptors_are_errors) {
  on_fiber([] {
    const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    wait_readable(file);
    ::close(file);
    EXPECT_EQ(error_of([&] { wait_readable(file); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([] { wait_writable(-1); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(wait_test, a_cancelled_wait_keeps_nothing_of_the_descriptor) {
  on_fiber([] {
    for (int i = 0; i < 50; ++i) {
      pipe_ends p;
      auto waiting = spawn([&] { wait_readable(p.read); });
      await_parked(waiting);
      waiting.cancel();
      EXPECT_THROW(waiting.get(), cancelled);
      EXPECT_EQ(::write(p.write, "x", 1), 1);
      wait_readable(p.read);
    }
  });
}

TEST_P(wait_test, a_number_that_is_used_again_is_another_descriptor) {
  on_fiber([] {
    for (int i = 0; i < 100; ++i) {
      pipe_ends p;
      EXPECT_EQ(::write(p.write, "x", 1), 1);
      wait_readable(p.read);
      pipe_ends quiet;
      auto waiting = spawn([&] { wait_readable(quiet.read); });
      EXPECT_FALSE(waiting.wait_for(i == 0 ? 10ms : 0ms));
      EXPECT_EQ(::write(quiet.write, "y", 1), 1);
      waiting.get();
    }
  });
}

}  // namespace
}  // namespace coir::testing
