// Single faults of the kernel, and what becomes of the runtime: F42, F50, F56, F57, F58.
#include <cstring>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault_kernels.hpp"
#include "fault_shim.hpp"
#include "moving.hpp"
#include "zero_copy_fixture.hpp"

namespace coir::testing {
namespace {

using faults::fault;

void echo(tcp_stream peer) {
  char c[16];
  while (const std::size_t n = peer.read_some(c)) peer.write(std::string_view(c, n));
}
bool echoes(tcp_stream& s) {
  char c[4];
  s.write("ping");
  s.read_exactly(c);
  return std::string_view(c, 4) == "ping";
}

class fault_test : public ::testing::TestWithParam<kernel_setting> {
 protected:
  void SetUp() override { ::alarm(sanitized ? 100 : 50); }  // whoever waits for ever
  void TearDown() override { ::alarm(0); }

  // As the first fiber of a runtime on this kernel; nothing may be left.
  template <class F>
  void on_fiber(F&& f) {
    const std::size_t before = open_descriptors();
    {
      const auto r = runtime_on(GetParam());
      r->block_on(std::forward<F>(f));
      EXPECT_TRUE(eventually([&] { return r->metrics().fibers_alive == 0; })) << "a fiber is left";
    }
    EXPECT_EQ(open_descriptors(), before) << "a descriptor is left";
  }
  const char* accept_site() const {
    const bool by_call = GetParam().on == kernel::epoll || GetParam().on == kernel::uring_polled;
    return by_call ? "accept4" : "uring:accept";
  }
};
INSTANTIATE_TEST_SUITE_P(kernels, fault_test, ::testing::ValuesIn(kernels({1, 2, 4})), kernel_name);

// F58: what the process or the system is out of.
TEST_P(fault_test, a_server_that_cannot_accept_says_so_once_and_goes_on) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    SCOPED_TRACE(::strerrorname_np(error));
    on_fiber([&] {
      std::vector<int> reported;
      server s(tcp_listener::bind(any_port), echo,
               {.on_shortage = [&](std::error_code e) { reported.push_back(e.value()); }});
      auto serving = spawn([&] { s.serve(); });
      await_parked(serving);
      auto first = tcp_stream::connect(s.listener().local());
      EXPECT_TRUE(echoes(first));
      faults::arm({.site = accept_site(), .error = error, .times = 3});
      // One request is in the kernel already, and takes the first of them.
      std::vector<tcp_stream> more;
      for (int i = 0; i < 3; ++i) more.push_back(tcp_stream::connect(s.listener().local()));
      for (auto& m : more) EXPECT_TRUE(echoes(m));
      if (const unsigned struck = faults::disarm(); struck != 0) {
        EXPECT_EQ(reported, std::vector<int>(1, error));
      } else {
        EXPECT_EQ(GetParam().on, kernel::uring) << "only a multishot request is not made again";
      }
      s.stop(0s);
      serving.get();
    });
  }
}

// F58: what says only that a connection, or its network, has gone.
TEST_P(fault_test, an_accept_passes_over_connections_that_have_gone) {
  for (const int error : {ECONNABORTED, EPROTO, EINTR, ENETDOWN, EHOSTUNREACH}) {
    SCOPED_TRACE(::strerrorname_np(error));
    on_fiber([&] {
      auto listener = tcp_listener::bind(any_port);
      faults::arm({.site = accept_site(), .error = error, .times = 5});
      auto accepting = spawn([&] { return listener.accept(); });
      auto client = tcp_stream::connect(listener.local());
      auto served = spawn(echo, accepting.get());
      EXPECT_EQ(faults::disarm(), 5U);
      EXPECT_TRUE(echoes(client));
      client.close();
      served.get();
    });
  }
}

// F50: a request that was to go on ends after each connection.
TEST_P(fault_test, a_multishot_accept_that_ends_is_made_again) {
  if (GetParam().on != kernel::uring) GTEST_SKIP() << "no multishot";
  on_fiber([&] {
    faults::arm({.site = "uring:accept", .error = fault::last, .times = 1'000'000});
    server s(tcp_listener::bind(any_port), echo);
    auto serving = spawn([&] { s.serve(); });
    for (int i = 0; i < 20; ++i) {
      auto client = tcp_stream::connect(s.listener().local());
      EXPECT_TRUE(echoes(client)) << i;
    }
    EXPECT_GE(faults::disarm(), 20U);
    s.stop(10s);
    serving.get();
  });
}

// F42: which calls go where when the ring has no operation for them.
TEST_P(fault_test, what_the_ring_cannot_do_is_a_poll_and_a_system_call) {
  if (GetParam().on != kernel::uring_polled) GTEST_SKIP() << "the others have them";
  on_fiber([&] {
    faults::forget();
    server s(tcp_listener::bind(any_port), echo);
    auto serving = spawn([&] { s.serve(); });
    auto client = tcp_stream::connect(s.listener().local());
    EXPECT_TRUE(echoes(client));
    const std::span<const std::byte> half = std::as_bytes(std::span("ab")).first(2);
    client.write(std::array{half, half});
    char got[4];
    client.read_exactly(got);
    client.close();
    s.stop(10s);
    serving.get();
    const auto counts = faults::counted();
    const auto count = [&](const char* site) {
      const auto found = counts.find(site);
      return found == counts.end() ? 0 : found->second;
    };
    for (const char* missing :
         {"uring:recv", "uring:send", "uring:sendmsg", "uring:accept", "uring:connect"})
      EXPECT_EQ(count(missing), 0U) << missing;
    for (const char* instead : {"recv", "send", "sendmsg", "accept4", "connect", "uring:poll"})
      EXPECT_GT(count(instead), 0U) << instead;
  });
}

// What the kernel does not send from the caller's memory, for now or at all, is copied.
TEST_P(fault_test, a_zero_copy_send_that_is_refused_is_a_plain_one) {
  if (GetParam().on == kernel::epoll || GetParam().on == kernel::uring_polled)
    GTEST_SKIP() << "there is none";
  for (const int error : {ENOMEM, ENOBUFS, EFAULT, EOPNOTSUPP}) {
    SCOPED_TRACE(::strerrorname_np(error));
    on_fiber([&] {
      auto [a, b] = tcp_pair();
      a.set_zero_copy(1);
      faults::arm({.site = "uring:sendmsg_zc", .error = error, .times = 1});
      for (int i = 0; i < 3; ++i) {
        char got[4];
        a.write("ping");
        b.read_exactly(got);
        EXPECT_EQ(std::string_view(got, 4), "ping");
      }
      EXPECT_EQ(faults::counted()["uring:sendmsg_zc"], error == EOPNOTSUPP ? 1U : 3U);
      EXPECT_EQ(faults::disarm(), 1U);
      const auto m = runtime::current().metrics();
      EXPECT_EQ(m.zero_copy_refused, 1U);
      EXPECT_EQ(m.zero_copy_sends, error == EOPNOTSUPP ? 0U : 2U);
    });
  }
}

// Its result is there before the cancellation, which therefore finds nothing: once is enough.
TEST_P(fault_test, what_only_waits_for_its_notification_is_not_cancelled_again_and_again) {
  on_fiber([&] {
    for (int i = 0; i < 10; ++i) {
      auto [a, b] = stalling_pair();
      a.set_zero_copy(1, 5ms);
      const std::string text = pattern(taken_at_once);
      faults::forget();
      auto writing = spawn(here_only, [&, &a = a] { a.write(text); });
      while (writing.state() != task_state::parked && !writing.done()) this_fiber::yield();
      writing.cancel();
      writing.wait();
      EXPECT_LE(faults::counted()["uring:cancel"], 3U);
    }
  });
}

// A fiber whose calls never have to wait lets others run all the same.
TEST_P(fault_test, calls_that_complete_at_once_leave_a_turn_to_others) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    std::atomic<bool> stop{false};
    auto busy = spawn(here_only, [&, &a = a, &b = b] {
      char c[1];
      while (!stop) {
        a.write("x");
        b.read_exactly(c);
      }
    });
    spawn(here_only, [&] { stop = true; }).get();
    busy.get();
  });
}

// F57: operations in flight when the runtime ends are cancelled and reaped before its workers go.
TEST_P(fault_test, a_runtime_that_ends_takes_its_operations_along) {
  constexpr int readers = 500;
  const std::size_t before = open_descriptors();
  std::atomic<int> ended{0};
  {
    const auto r = runtime_on(GetParam());
    std::atomic<int> begun{0};
    for (int i = 0; i < readers; ++i)
      r->spawn([&] {
         auto [a, b] = unix_stream::pair();
         char into[256];
         std::memset(into, 'x', sizeof into);
         struct note_the_end {
           std::atomic<int>& ended;
           unix_stream& peer;
           char (&into)[256];
           ~note_the_end() {  // what comes now has nowhere to go
             (void)!::send(peer.native_handle(), "late", 4, MSG_NOSIGNAL);
             for (const char c : into) EXPECT_EQ(c, 'x');
             ++ended;
           }
         } at_the_end{ended, b, into};
         ++begun;
         (void)a.read_some(into);
       }).detach();
    EXPECT_TRUE(eventually([&] { return begun == readers; }));
    r->shutdown();
    EXPECT_EQ(ended.load(), readers);
  }
  EXPECT_EQ(open_descriptors(), before);
}

// F56: no memory may be locked. Nothing of ours has to be.
TEST(locked_memory, none_is_needed) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_MEMLOCK, &none);
    options o;
    o.workers = 4;
    runtime r(o);
    std::printf("with RLIMIT_MEMLOCK 0: %s\n", r.metrics().reactor.c_str());
    std::fflush(stdout);
    ::_exit(r.block_on([] {
      auto [a, b] = tcp_pair();
      char got[4];
      a.write("ping");
      b.read_exactly(got);
      return std::string_view(got, 4) == "ping" ? 0 : 1;
    }));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// What a worker cannot do without fails for good: said, and the process stops.
class lost_kernel_death : public ::testing::TestWithParam<kernel_setting> {};
INSTANTIATE_TEST_SUITE_P(kernels, lost_kernel_death, ::testing::ValuesIn(kernels({2})),
                         kernel_name);

TEST_P(lost_kernel_death, a_worker_that_cannot_ask_the_kernel_any_more_stops_the_process) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const bool epoll = GetParam().on == kernel::epoll;
  // EPERM of epoll_pwait2 is that of a filter which does not know it: epoll_wait takes its place.
  for (const int error : {epoll ? EBADF : EPERM, ECONNRESET, EMFILE}) {
    EXPECT_DEATH(
        {
          ::alarm(sanitized ? 60 : 20);
          const auto r = runtime_on(GetParam());
          faults::arm({.site = epoll ? "epoll_pwait2" : "io_uring_enter",
                       .error = error,
                       .times = 1'000'000});
          for (;;) r->block_on([] { this_fiber::sleep_for(1ms); });
        },
        "coir: the (io_uring|epoll instance) of a worker, descriptor [0-9]+: ");
  }
}

}  // namespace
}  // namespace coir::testing
