// server: connections, their number, shortage, the end.
#include <sys/resource.h>
#include <sys/socket.h>

#include "echoing.hpp"

namespace coir::testing {
namespace {

class server_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, server_test, every_rung(), rung_name);

double cpu_seconds() {
  rusage u{};
  ::getrusage(RUSAGE_SELF, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

TEST_P(server_test, serves_many_connections_and_stops) {
  on_fiber([] {
    server s(tcp_listener::bind(any_port), echo);
    const endpoint at = s.listener().local();
    auto serving = spawn([&] { s.serve(); });
    std::vector<task<void>> clients;
    for (int c = 0; c < 50; ++c)
      clients.push_back(spawn([at] {
        auto stream = tcp_stream::connect(at);
        for (int i = 0; i < 20; ++i) EXPECT_TRUE(echoes(stream));
      }));
    for (auto& c : clients) c.get();
    s.stop(10s);
    serving.get();
    s.stop(0s);
    EXPECT_EQ(error_of([&] { tcp_stream::connect(at); }), std::errc::connection_refused);
  });
}

TEST_P(server_test, stop_lets_handlers_finish_within_the_grace) {
  on_fiber([] {
    std::atomic<int> finished{0};
    server s(tcp_listener::bind(any_port), [&](tcp_stream) {
      this_fiber::sleep_for(50ms);
      ++finished;
    });
    auto serving = spawn([&] { s.serve(); });
    auto c = tcp_stream::connect(s.listener().local());
    this_fiber::sleep_for(20ms);
    s.stop(10s);
    EXPECT_EQ(finished.load(), 1);
    serving.get();
  });
}

TEST_P(server_test, stop_cancels_handlers_after_the_grace) {
  on_fiber([] {
    std::atomic<int> cancelled_handlers{0};
    server s(tcp_listener::bind(any_port), [&](tcp_stream stream) {
      try {
        echo(std::move(stream));
      } catch (const cancelled&) {
        ++cancelled_handlers;
        throw;
      }
    });
    auto serving = spawn([&] { s.serve(); });
    std::vector<tcp_stream> clients;
    for (int i = 0; i < 5; ++i) {
      clients.push_back(tcp_stream::connect(s.listener().local()));
      EXPECT_TRUE(echoes(clients.back()));
    }
    const auto start = clock::now();
    s.stop(30ms);
    EXPECT_GE(clock::now() - start, 30ms);
    EXPECT_EQ(cancelled_handlers.load(), 5);
    serving.get();
    char buffer[1];
    for (auto& c : clients) EXPECT_EQ(c.read_some(buffer), 0U);
  });
}

TEST_P(server_test, a_cancelled_serve_takes_its_handlers_along) {
  on_fiber([] {
    server s(tcp_listener::bind(any_port), echo);
    auto serving = spawn([&] { s.serve(); });
    auto c = tcp_stream::connect(s.listener().local());
    EXPECT_TRUE(echoes(c));
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
    char buffer[1];
    EXPECT_EQ(c.read_some(buffer), 0U);
  });
}

TEST_P(server_test, never_serves_more_than_its_limit) {
  on_fiber([] {
    std::atomic<int> now{0}, most{0};
    server s(tcp_listener::bind(any_port),
             [&](tcp_stream stream) {
               const int n = ++now;
               for (int m = most.load(); m < n && !most.compare_exchange_weak(m, n);) {}
               echo(std::move(stream));
               --now;
             },
             {.max_connections = 3});
    auto serving = spawn([&] { s.serve(); });
    std::vector<task<void>> clients;
    for (int c = 0; c < 20; ++c)
      clients.push_back(spawn([at = s.listener().local()] {
        auto stream = tcp_stream::connect(at);
        EXPECT_TRUE(echoes(stream));
        this_fiber::sleep_for(2ms);
      }));
    for (auto& c : clients) c.get();
    EXPECT_EQ(most.load(), 3);
    s.stop(10s);
    serving.get();
  });
}

TEST_P(server_test, a_handlers_error_ends_its_connection_alone) {
  std::atomic<int> reported{0};
  unhandled = [&](std::exception_ptr, std::string_view) { ++reported; };
  on_fiber([&] {
    server s(tcp_listener::bind(any_port), [](tcp_stream stream) {
      char buffer[4];
      stream.read_exactly(buffer);
      if (buffer[0] == 'b') throw std::runtime_error("bad");
      stream.write(std::string_view(buffer, 4));
    });
    auto serving = spawn([&] { s.serve(); });
    auto good = tcp_stream::connect(s.listener().local());
    auto bad = tcp_stream::connect(s.listener().local());
    bad.write("bad!");
    char buffer[1];
    EXPECT_EQ(bad.read_some(buffer), 0U);
    EXPECT_TRUE(echoes(good));
    EXPECT_TRUE(eventually_on_fiber([&] { return reported.load() == 1; }));
    s.stop(10s);
    serving.get();
  });
}

// F58
TEST_P(server_test, without_descriptors_it_waits_quietly_and_recovers) {
  on_fiber([] {
    std::atomic<int> reports{0};
    server s(tcp_listener::bind(any_port), echo, {.on_shortage = [&](std::error_code e) {
               EXPECT_EQ(e, std::errc::too_many_files_open);
               ++reports;
             }});
    std::vector<int> hoard;
    rlimit usual{};
    ::getrlimit(RLIMIT_NOFILE, &usual);
    const rlimit few{open_descriptors() + 20, usual.rlim_max};
    ::setrlimit(RLIMIT_NOFILE,
                &few);  // a multishot request keeps the limit under which it was made
    auto serving = spawn([&] { s.serve(); });
    tcp_stream first = tcp_stream::connect(s.listener().local());
    EXPECT_TRUE(echoes(first));
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    for (int fd; (fd = ::dup(0)) >= 0;) hoard.push_back(fd);
    const endpoint at = s.listener().local();
    EXPECT_EQ(::connect(client, static_cast<const sockaddr*>(at.native()),
                        static_cast<socklen_t>(at.native_size())),
              0);
    EXPECT_TRUE(eventually_on_fiber([&] { return reports.load() == 1; }));
    const double cpu = cpu_seconds();
    this_fiber::sleep_for(500ms);
    EXPECT_LT(cpu_seconds() - cpu, 0.5 * (sanitized ? 0.5 : 0.05));
    EXPECT_TRUE(echoes(first));
    for (const int fd : hoard) ::close(fd);
    ::setrlimit(RLIMIT_NOFILE, &usual);
    const auto start = clock::now();
    auto second = tcp_stream::adopt(client);
    EXPECT_TRUE(echoes(second));
    EXPECT_LT(clock::now() - start, 1200ms);
    EXPECT_EQ(reports.load(), 1);
    first.close();
    second.close();
    s.stop(10s);
    serving.get();
  });
}

// A listener that shutdown(2) does not wake.
TEST_P(server_test, one_on_a_unix_socket_stops_and_can_be_cancelled) {
  on_fiber([] {
    for (const bool cancel : {false, true}) {
      server s(unix_listener::bind(
                   endpoint::parse("unix:@coir-server-test-" + std::to_string(::getpid()))),
               [](unix_stream peer) {
                 char c[4];
                 while (const std::size_t n = peer.read_some(c)) peer.write(std::string_view(c, n));
               });
      auto serving = spawn([&] { s.serve(); });
      auto client = unix_stream::connect(s.listener().local());
      char c[4];
      client.write("ping");
      client.read_exactly(c);
      EXPECT_EQ(std::string_view(c, 4), "ping");
      await_parked(serving);
      if (cancel) {
        serving.cancel();
        EXPECT_THROW(serving.get(), cancelled);
      } else {
        s.stop(0s);
        serving.get();
      }
      EXPECT_EQ(client.read_some(c), 0U);
    }
  });
}

TEST_P(server_test, the_socket_file_of_one_that_has_stopped_is_gone) {
  const std::string path = "/tmp/coir-server-test-" + std::to_string(::getpid());
  on_fiber([&] {
    {
      server s(unix_listener::bind(endpoint::parse("unix:" + path)), [](unix_stream) {});
      auto serving = spawn([&] { s.serve(); });
      await_parked(serving);
      EXPECT_TRUE(std::filesystem::exists(path));
      s.stop(0s);
      serving.get();
    }
    EXPECT_FALSE(std::filesystem::exists(path));
    auto kept = unix_listener::bind(endpoint::parse("unix:" + path));
    const int fd = kept.release();
    kept = {};
    EXPECT_TRUE(std::filesystem::exists(path)) << "it went with the descriptor to the caller";
    ::close(fd);
    std::filesystem::remove(path);
  });
}

// A connected socket that nobody has been asked to accept.
int dial(const endpoint& at) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(fd, static_cast<const sockaddr*>(at.native()),
                      static_cast<socklen_t>(at.native_size())),
            0);
  return fd;
}

TEST_P(server_test, who_is_at_the_door_when_it_stops_is_served) {
  on_fiber([] {
    for (const std::size_t limit : {0, 1000}) {
      server s(tcp_listener::bind(any_port), echo, {.max_connections = limit});
      auto serving = spawn([&] { s.serve(); });
      await_parked(serving);
      std::vector<int> clients;
      for (int i = 0; i < 50; ++i) {
        clients.push_back(dial(s.listener().local()));
        EXPECT_EQ(::send(clients.back(), "ping", 4, MSG_NOSIGNAL), 4);
        EXPECT_EQ(::shutdown(clients.back(), SHUT_WR), 0);
      }
      s.stop(60s);
      serving.get();
      for (const int fd : clients) {
        char c[5];
        EXPECT_EQ(::recv(fd, c, sizeof c, MSG_WAITALL), 4);
        ::close(fd);
      }
    }
  });
}

TEST_P(server_test, who_finds_no_place_when_it_stops_is_not_waited_for) {
  on_fiber([] {
    server s(tcp_listener::bind(any_port), echo, {.max_connections = 1});
    auto serving = spawn([&] { s.serve(); });
    auto served = tcp_stream::connect(s.listener().local());
    EXPECT_TRUE(echoes(served));
    const int other = dial(s.listener().local());
    auto stopping = spawn([&] { s.stop(60s); });
    await_parked(stopping);
    served.close();
    stopping.get();
    serving.get();
    char c[1];
    EXPECT_LE(::recv(other, c, 1, 0), 0);
    ::close(other);
  });
}

TEST_P(server_test, connections_that_the_kernel_had_accepted_ahead_are_closed) {
  on_fiber([] {
    server s(tcp_listener::bind(any_port), echo);
    auto serving = spawn([&] { s.serve(); });
    await_parked(serving);
    std::vector<int> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(dial(s.listener().local()));
    serving.cancel();
    EXPECT_THROW(serving.get(), cancelled);
    for (const int fd : clients) ::close(fd);
  });  // which looks for descriptors that are left
}

TEST_P(server_test, two_thousand_connections_are_stopped_at_once) {
  if (GetParam().workers != 2) GTEST_SKIP() << "two workers show it";
  rlimit usual{};
  ::getrlimit(RLIMIT_NOFILE, &usual);
  if (usual.rlim_max < 5000) GTEST_SKIP() << "not enough descriptors";
  const rlimit enough{std::max<rlim_t>(usual.rlim_cur, 5000), usual.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &enough);
  constexpr int many = 2000;
  std::atomic<int> begun{0}, cancelled_handlers{0};
  std::vector<int> clients;
  on_fiber([&] {
    server s(tcp_listener::bind(any_port), [&](tcp_stream stream) {
      ++begun;
      try {
        echo(std::move(stream));
      } catch (const cancelled& c) {
        cancelled_handlers += c.reason() == "the server stops";
        throw;
      }
    });
    auto serving = spawn([&] { s.serve(); });
    for (int i = 1; i <= many; ++i) {
      clients.push_back(dial(s.listener().local()));
      if (i % 100 == 0) {
        EXPECT_TRUE(eventually_on_fiber([&] { return begun == i; })) << begun << " of " << i;
      }
    }
    const auto start = clock::now();
    s.stop(0s);
    const std::chrono::duration<double, std::milli> took = clock::now() - start;
    std::printf("%d connections were stopped in %.1f ms\n", many, took.count());
    EXPECT_EQ(cancelled_handlers.load(), many);
    serving.get();
    char c[1];
    for (const int fd : clients) {
      EXPECT_EQ(::recv(fd, c, 1, 0), 0) << "the peer is not told";
      ::close(fd);
    }
  });
  ::setrlimit(RLIMIT_NOFILE, &usual);
}

}  // namespace
}  // namespace coir::testing
