// An event that comes after a call has found nothing and before it waits, forced: recv is ours
// here, and lets the event be delivered before it returns.
#include <cerrno>
#include <functional>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io_fixture.hpp"
#include "moving.hpp"

namespace {
std::atomic<int> watched{-1};  // the next recv of it that finds nothing calls `then`, once
std::function<void()> then;
}  // namespace

extern "C" ssize_t recv(int fd, void* into, std::size_t size, int flags) {
  const long result = ::syscall(SYS_recvfrom, fd, into, size, flags, nullptr, nullptr);
  int expected = fd;
  if (result >= 0 || errno != EAGAIN || !watched.compare_exchange_strong(expected, -1))
    return result;
  then();
  errno = EAGAIN;
  return -1;
}

namespace coir::testing {
namespace {

class late_event_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, late_event_test,
                         ::testing::Values(rung{reactor_kind::epoll, 2},
                                           rung{reactor_kind::epoll, 4}),
                         rung_name);

TEST_P(late_event_test, one_that_comes_between_the_call_and_its_wait_is_kept) {
  on_fiber([] {
    set_pinned(true);
    auto [x, x_peer] = unix_stream::pair();
    auto [y, y_peer] = unix_stream::pair();
    // Both are registered with this worker's instance, by whoever waits first.
    std::atomic<int> y_read{0};
    auto first = spawn(here_only, [&x = x] {
      char c[1];
      EXPECT_EQ(x.read_some(c), 1U);
    });
    auto witness = spawn(here_only, [&y = y, &y_read] {
      char c[1];
      for (int i = 0; i < 2; ++i) y_read += static_cast<int>(y.read_some(c));
    });
    await_parked(first);
    await_parked(witness);
    x_peer.write("1");
    y_peer.write("1");
    first.get();
    ASSERT_TRUE(eventually_on_fiber([&] { return y_read == 1; }));
    await_parked(witness);

    const unsigned here = this_worker();
    std::atomic<unsigned> there{nowhere};
    then = [&, to_x = x_peer.native_handle(), to_y = y_peer.native_handle()] {
      EXPECT_EQ(::send(to_x, "2", 1, 0), 1);
      EXPECT_EQ(::send(to_y, "2", 1, 0), 1);
      // Events come in their order: when the witness has seen the second, the first is delivered.
      EXPECT_TRUE(hog_until([&] { return y_read == 2; })) << "the other worker does not poll";
    };
    auto late = spawn([&, &x = x] {
      set_pinned(true);
      there = this_worker();
      watched = x.native_handle();
      char c[1];
      std::error_code error;
      return x.read_some(c, error);
    });
    EXPECT_TRUE(hog_until([&] { return there != nowhere; }));
    EXPECT_NE(there.load(), here);
    EXPECT_TRUE(late.wait_for(10s))
        << "the event on worker " << here << " is lost to worker " << there;
    x.close();  // ends it, should it wait for ever
    EXPECT_EQ(late.get(), 1U);
    witness.get();
    EXPECT_EQ(watched.load(), -1) << "recv never found nothing";
  });
}

}  // namespace
}  // namespace coir::testing
