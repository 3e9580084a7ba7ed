// unix_stream: who the peer is, and descriptors that travel through it (F71).
#include <cstring>
#include <random>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class handle_passing_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, handle_passing_test, every_rung(), rung_name);

// As another program might: several at once, or none.
void send_raw(const unix_stream& s, const std::vector<int>& handles) {
  char byte = 'x';
  iovec part{&byte, 1};
  std::vector<char> control(CMSG_SPACE(handles.size() * sizeof(int)));
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  if (!handles.empty()) {
    m.msg_control = control.data();
    m.msg_controllen = control.size();
    cmsghdr* const head = CMSG_FIRSTHDR(&m);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(handles.size() * sizeof(int));
    std::memcpy(CMSG_DATA(head), handles.data(), handles.size() * sizeof(int));
  }
  ASSERT_EQ(::sendmsg(s.native_handle(), &m, 0), 1);
}

TEST_P(handle_passing_test, the_peer_is_named_by_the_kernel) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    const unix_credentials peer = a.peer_credentials();
    EXPECT_EQ(peer.pid, ::getpid());
    EXPECT_EQ(peer.uid, ::getuid());
    EXPECT_EQ(peer.gid, ::getgid());
    a.close();
    EXPECT_EQ(error_of([&a = a] { a.peer_credentials(); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(handle_passing_test, a_handle_arrives_and_is_the_same_open_file) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    auto [inner, outer] = tcp_pair();
    auto receiving = spawn([&b = b] { return b.receive_handle(); });
    await_parked(receiving);
    a.send_handle(inner.native_handle());
    const int fd = receiving.get();
    EXPECT_NE(fd, inner.native_handle());
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    inner.close();
    auto again = tcp_stream::adopt(fd);
    again.write("through it");
    char got[10];
    outer.read_exactly(got);
    EXPECT_EQ(std::string_view(got, 10), "through it");
    a.write("and bytes go on");
    EXPECT_EQ(reader(b).read(5), "and b");
    EXPECT_EQ(a.bytes_written(), 16U);
  });
}

TEST_P(handle_passing_test, what_is_no_open_file_is_refused) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    const int closed = ::dup(0);
    ::close(closed);
    for (const int bad : {-1, closed})
      EXPECT_EQ(error_of([&, &a = a] { a.send_handle(bad); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(a.bytes_written(), 0U);
    b.close();
    EXPECT_EQ(error_of([&a = a] { a.send_handle(0); }), std::errc::broken_pipe);
    EXPECT_EQ(a.receive_handle(), -1) << "the end";
    a.close();
    EXPECT_EQ(error_of([&a = a] { a.send_handle(0); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&a = a] { a.receive_handle(); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(handle_passing_test, of_none_and_of_several_nothing_is_left) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    const std::size_t before = open_descriptors();
    send_raw(a, {});
    EXPECT_EQ(error_of([&b = b] { b.receive_handle(); }), std::errc::bad_message);
    for (const std::size_t n : {2, 3, 253}) {
      send_raw(a, std::vector<int>(n, 0));
      EXPECT_EQ(error_of([&b = b] { b.receive_handle(); }), std::errc::bad_message);
      EXPECT_EQ(open_descriptors(), before);
    }
    send_raw(a, {0});  // a plain read drops it
    char c[1];
    EXPECT_EQ(b.read_some(c), 1U);
    EXPECT_EQ(open_descriptors(), before);
    a.send_handle(0);
    const int fd = b.receive_handle();
    EXPECT_GE(fd, 0);
    ::close(fd);
  });
}

TEST_P(handle_passing_test, a_process_that_can_have_no_more_is_told) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    a.send_handle(0);
    a.send_handle(0);
    rlimit usual{};
    ::getrlimit(RLIMIT_NOFILE, &usual);
    const rlimit none{0, usual.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    std::error_code error;
    EXPECT_EQ(b.receive_handle(error), -1);
    ::setrlimit(RLIMIT_NOFILE, &usual);
    EXPECT_EQ(error, std::errc::too_many_files_open);
    const int fd = b.receive_handle();
    EXPECT_GE(fd, 0);
    ::close(fd);
  });
}

TEST_P(handle_passing_test, cancellations_and_closes_leave_no_handle_behind) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    const std::size_t before = open_descriptors();
    std::mt19937 random(5);
    unsigned came = 0, cancellations = 0, sent = 0;
    for (int i = 0; i < rounds(400); ++i) {
      auto receiving = spawn([&b = b] { return b.receive_handle(); });
      for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
      if (random() % 2) a.send_handle(0), ++sent;
      for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
      receiving.cancel();
      try {
        ::close(receiving.get());
        ++came;
      } catch (const cancelled&) {
        ++cancellations;
      }
    }
    for (; came != sent; ++came) ::close(b.receive_handle());
    EXPECT_EQ(open_descriptors(), before);
    std::printf("came %u, cancelled %u\n", came, cancellations);
    auto receiving = spawn([&b = b] { return error_of([&] { b.receive_handle(); }); });
    await_parked(receiving);
    b.close();
    EXPECT_EQ(receiving.get(), std::errc::operation_canceled);
  });
}

}  // namespace
}  // namespace coir::testing
