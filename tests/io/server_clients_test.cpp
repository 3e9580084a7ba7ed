// server: clients that are slow, or gone, and listeners that are no sockets.
#include <memory>
#include <optional>

#include <sys/socket.h>

#include "echoing.hpp"

namespace coir::testing {
namespace {

class server_clients_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, server_clients_test, every_rung(), rung_name);

// --- slow clients ---

TEST_P(server_clients_test, a_client_that_keeps_its_handler_waiting_is_timed_out) {
  on_fiber([] {
    server s(tcp_listener::bind(any_port),
             [](tcp_stream peer) {
               std::error_code error;
               char c[1];
               EXPECT_EQ(peer.read_some(c, error), 0U);
               EXPECT_EQ(error, std::errc::timed_out);
               peer.write("too slow");
             },
             {.idle_timeout = 40ms});
    auto serving = spawn([&] { s.serve(); });
    const auto start = clock::now();
    auto client = tcp_stream::connect(s.listener().local());
    EXPECT_EQ(reader(client).read_all(), "too slow");
    EXPECT_GE(clock::now() - start, 40ms);
    s.stop(10s);
    serving.get();
  });
}

TEST_P(server_clients_test, a_client_that_reads_nothing_is_timed_out) {
  on_fiber([] {
    std::atomic<bool> gave_up{false};
    server s(tcp_listener::bind(any_port),
             [&](tcp_stream peer) {
               const std::vector<char> much(10'000'000);
               std::error_code error;
               peer.write(std::string_view(much.data(), much.size()), error);
               EXPECT_EQ(error, std::errc::timed_out);
               gave_up = true;
             },
             {.idle_timeout = 40ms});
    auto serving = spawn([&] { s.serve(); });
    auto client = tcp_stream::connect(s.listener().local());
    EXPECT_TRUE(eventually_on_fiber([&] { return gave_up.load(); }));
    s.stop(10s);
    serving.get();
  });
}

TEST_P(server_clients_test, who_waits_for_something_else_or_moves_bytes_is_not_idle) {
  if (GetParam().workers != 2) GTEST_SKIP() << "it takes its time";
  on_fiber([] {
    server s(tcp_listener::bind(any_port),
             [](tcp_stream peer) {
               this_fiber::sleep_for(2500ms);  // no call of the stream's waits
               echo(std::move(peer));
             },
             {.idle_timeout = 2s});
    auto serving = spawn([&] { s.serve(); });
    auto client = tcp_stream::connect(s.listener().local());
    this_fiber::sleep_for(3400ms);
    EXPECT_TRUE(echoes(client));
    for (const auto end = clock::now() + 1s; clock::now() < end; this_fiber::sleep_for(5ms)) {
      std::error_code error;
      client.write("ping", error);
      char c[4];
      client.read_exactly(c, error);
      ASSERT_FALSE(error) << error.message();
    }
    client.close();
    s.stop(10s);
    serving.get();
  });
}

TEST_P(server_clients_test, many_idle_clients_are_all_found) {
  on_fiber([] {
    constexpr int many = 150;
    std::atomic<int> ended{0};
    server s(tcp_listener::bind(any_port),
             [&](tcp_stream peer) {
               std::error_code error;
               char c[1];
               peer.read_some(c, error);
               ended += error == std::errc::timed_out;
             },
             {.idle_timeout = 20ms});
    auto serving = spawn([&] { s.serve(); });
    std::vector<tcp_stream> clients;
    for (int i = 0; i < many; ++i) clients.push_back(tcp_stream::connect(s.listener().local()));
    EXPECT_TRUE(eventually_on_fiber([&] { return ended.load() == many; })) << ended;
    s.stop(10s);
    serving.get();
  });
}

// What a stream needs first, its handler does: here a word, elsewhere a TLS handshake.
TEST_P(server_clients_test, a_handshake_that_stalls_delays_nobody) {
  on_fiber([] {
    server s(tcp_listener::bind(any_port), [](tcp_stream peer) {
      reader r(peer);
      if (with_timeout(10s, [&] { return r.read_line(); }) != "hello") return;
      peer.write("welcome\n");
    });
    auto serving = spawn([&] { s.serve(); });
    auto stalled = tcp_stream::connect(s.listener().local());
    auto other = tcp_stream::connect(s.listener().local());
    other.write("hello\n");
    EXPECT_EQ(reader(other).read_line(), "welcome");
    stalled.close();
    s.stop(10s);
    serving.get();
  });
}

// --- a listener of the user's ---

// Hands out one end of each pair whose other end it has been given.
struct local_listener {
  std::shared_ptr<channel<unix_stream>> waiting = std::make_shared<channel<unix_stream>>(8);
  unix_stream accept(std::error_code& error) {
    auto next = waiting->pop();
    error = next ? std::error_code() : make_error_code(std::errc::operation_canceled);
    return next ? std::move(*next) : unix_stream();
  }
  void close() {  // whoever has not been accepted meets the end, as with the kernel's
    waiting->close();
    while (waiting->try_pop()) {}
  }
};

TEST_P(server_clients_test, serves_a_listener_of_the_users) {
  on_fiber([] {
    local_listener mine;
    const auto dial = [waiting = mine.waiting] {
      auto [a, b] = unix_stream::pair();
      waiting->push(std::move(b));
      return std::move(a);
    };
    std::atomic<int> now{0}, most{0};
    server s(std::move(mine),
             [&](unix_stream peer) {
               most = std::max(most.load(), ++now);
               reader r(peer);
               while (auto line = r.read_line()) peer.write(*line + '!');
               --now;
             },
             {.max_connections = 2});
    auto serving = spawn([&] { s.serve(); });
    for (int i = 0; i < 5; ++i) {
      auto a = dial(), b = dial();
      a.write("abc\n");
      b.write("def\n");
      b.shutdown_write();
      char c[4];
      a.read_exactly(c);
      EXPECT_EQ(std::string_view(c, 4), "abc!");
      EXPECT_EQ(reader(b).read_all(), "def!");
    }
    auto stays = dial();
    s.stop(0s);
    serving.get();
    EXPECT_EQ(reader(stays).read_all(), "");
    EXPECT_LE(most.load(), 2);
  });
}

// Its accept gives one more connection while it is being closed.
struct late_listener {
  std::shared_ptr<event> closing = std::make_shared<event>();
  std::optional<unix_stream> last;
  unix_stream accept(std::error_code& error) {
    closing->wait();
    this_fiber::sleep_for(2ms);
    if (auto s = std::exchange(last, std::nullopt)) return std::move(*s);
    error = make_error_code(std::errc::operation_canceled);
    return {};
  }
  void close() { closing->set(); }
};

TEST_P(server_clients_test, a_connection_that_comes_while_it_stops_is_stopped_too) {
  on_fiber([] {
    auto [client, its_end] = unix_stream::pair();
    late_listener l;
    l.last = std::move(its_end);
    server s(std::move(l), [](unix_stream peer) { reader(peer).read_all(); });
    auto serving = spawn([&] { s.serve(); });
    await_parked(serving);
    s.stop(0s);
    EXPECT_TRUE(serving.wait_for(10s)) << "nobody has cancelled its handler";
    client.close();
    serving.get();
  });
}

// Well within the grace, which a client that asks nothing would use up.
TEST_P(server_clients_test, who_is_silent_when_it_stops_is_not_waited_for) {
  on_fiber([] {
    std::atomic<int> cancelled_handlers{0}, told_idle{0};
    server s(tcp_listener::bind(any_port),
             [&](tcp_stream peer) {
               try {
                 echo(std::move(peer));
               } catch (const cancelled&) {
                 ++cancelled_handlers;
                 throw;
               } catch (const std::system_error& e) {
                 told_idle += e.code() == std::errc::timed_out;
               }
             },
             {.idle_at_stop = 100ms});
    auto serving = spawn([&] { s.serve(); });
    std::vector<tcp_stream> silent;
    for (int i = 0; i < 100; ++i) {
      silent.push_back(tcp_stream::connect(s.listener().local()));
      EXPECT_TRUE(echoes(silent.back()));
    }
    s.stop(1h);
    serving.get();
    EXPECT_EQ(cancelled_handlers, 0);
    EXPECT_EQ(told_idle, 100);
    char c[1];
    for (auto& client : silent) EXPECT_EQ(client.read_some(c), 0U);
  });
}

TEST_P(server_clients_test, who_goes_on_when_it_stops_has_the_grace) {
  if (GetParam().workers != 2) GTEST_SKIP() << "two workers show it";
  on_fiber([] {
    std::atomic<int> told_idle{0};
    server s(tcp_listener::bind(any_port),
             [&](tcp_stream peer) {
               char c[1];
               std::error_code error;
               while (peer.read_some(c, error) != 0) {}
               told_idle += error == std::errc::timed_out;
             },
             {.idle_at_stop = 1s});
    auto serving = spawn([&] { s.serve(); });
    auto trickling = tcp_stream::connect(s.listener().local());
    auto longest_pause = spawn([&] {
      clock::duration longest{};
      const auto begun = clock::now();
      for (auto last = begun; last < begun + 2s; this_fiber::sleep_for(20ms)) {
        std::error_code gone;
        trickling.write(std::string_view("x"), gone);
        longest = std::max(longest, clock::now() - std::exchange(last, clock::now()));
      }
      trickling.close();
      return longest;
    });
    s.stop(1h);
    serving.get();
    if (longest_pause.get() < 500ms) {  // else this machine is too slow
      EXPECT_EQ(told_idle, 0);
    }
  });
}

TEST_P(server_clients_test, refuses_options_that_mean_nothing) {
  on_fiber([] {
    const auto handler = [](auto) {};
    EXPECT_THROW(server(tcp_listener::bind(any_port), handler, {.idle_timeout = 0ms}),
                 std::invalid_argument);
    EXPECT_THROW(server(local_listener(), handler, {.idle_timeout = 1s}), std::invalid_argument);
    EXPECT_THROW(server(tcp_listener::bind(any_port), handler, {.idle_at_stop = 0ms}),
                 std::invalid_argument);
  });
}

// --- floods ---

// Opened, perhaps used, and reset, all before the server can know of it.
void hit_and_run(const endpoint& at, bool with_data) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(fd, static_cast<const sockaddr*>(at.native()),
                      static_cast<socklen_t>(at.native_size())),
            0);
  if (with_data) {
    EXPECT_EQ(::send(fd, "ping", 4, 0), 4);
  }
  const linger at_once{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(fd);
}

// F68: the fixture looks for fibers and descriptors that are left.
TEST_P(server_clients_test, connections_that_are_opened_and_reset_at_once_hurt_nobody) {
  if (GetParam().workers > 2) GTEST_SKIP() << "one and two workers show it";
  unhandled = [](std::exception_ptr, std::string_view) {};
  on_fiber([] {
    server s(tcp_listener::bind(any_port), echo);
    auto serving = spawn([&] { s.serve(); });
    std::vector<tcp_stream> survivors;
    for (int i = 0; i < 5; ++i) survivors.push_back(tcp_stream::connect(s.listener().local()));
    for (int i = 0; i < rounds(1000); ++i) {
      hit_and_run(s.listener().local(), i % 3 == 0);
      if (i % 50 == 0) {
        EXPECT_TRUE(echoes(survivors[static_cast<std::size_t>(i / 50 % 5)]));
      }
    }
    for (auto& survivor : survivors) EXPECT_TRUE(echoes(survivor));
    survivors.clear();
    s.stop(10s);
    serving.get();
  });
}

}  // namespace
}  // namespace coir::testing
