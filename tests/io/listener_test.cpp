// Listeners: their options, the files of Unix-domain ones, and those that the process inherits.
#include <cstdlib>
#include <fstream>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class listener_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, listener_test, every_rung(), rung_name);

std::string path_for_test() { return "/tmp/coir-listener-test-" + std::to_string(::getpid()); }

TEST_P(listener_test, v6_only_decides_whether_ipv4_comes_in) {
  on_fiber([] {
    std::error_code error;
    for (const bool only : {false, true}) {
      const auto l = tcp_listener::bind(endpoint::parse("[::]:0"), {.v6_only = only}, error);
      if (error) GTEST_SKIP() << "no IPv6: " << error.message();
      const std::string port = std::to_string(l.local().port());
      tcp_stream::connect(endpoint::parse("[::1]:" + port));
      tcp_stream::connect(endpoint::parse("127.0.0.1:" + port), error);
      EXPECT_EQ(error, only ? make_error_condition(std::errc::connection_refused)
                            : std::error_condition());
    }
  });
}

TEST_P(listener_test, reuse_port_divides_connections_among_the_listeners) {
  on_fiber([] {
    auto first = tcp_listener::bind(any_port, {.reuse_port = true});
    const endpoint at = first.local();
    EXPECT_EQ(error_of([&] { tcp_listener::bind(at); }), std::errc::address_in_use);
    auto second = tcp_listener::bind(at, {.reuse_port = true});
    const auto count = [](tcp_listener& l) {
      return spawn([&l] {
        std::error_code error;
        for (int n = 0;; ++n) {
          l.accept(error);
          if (error) return n;
        }
      });
    };
    auto of_first = count(first), of_second = count(second);
    constexpr int many = 64;  // all of them to one: once in 10^19
    std::vector<tcp_stream> clients;
    for (int i = 0; i < many; ++i) clients.push_back(tcp_stream::connect(at));
    char c[1];
    for (auto& client : clients) EXPECT_EQ(client.read_some(c), 0U) << "not accepted";
    first.close();
    second.close();
    const int n = of_first.get(), m = of_second.get();
    EXPECT_EQ(n + m, many);
    EXPECT_TRUE(n != 0 && m != 0) << n << " and " << m;
  });
}

TEST_P(listener_test, connections_beyond_the_backlog_wait) {
  on_fiber([] {
    auto l = unix_listener::bind(endpoint::parse("unix:@" + path_for_test()), {.backlog = 1});
    const auto connect = [at = l.local()] { return unix_stream::connect(at); };
    auto first = spawn(connect), second = spawn(connect);
    first.wait();
    second.wait();
    auto third = spawn(connect), fourth = spawn(connect);
    EXPECT_FALSE(third.wait_for(20ms) || fourth.wait_for(1ms));
    fourth.cancel();
    EXPECT_THROW(fourth.get(), cancelled);
    auto accepted = l.accept();
    third.wait();
    EXPECT_TRUE(third.get().is_open());
  });
}

// F71
TEST_P(listener_test, a_path_that_is_too_long_is_refused) {
  EXPECT_THROW(endpoint::parse("unix:/" + std::string(200, 'x')), std::invalid_argument);
}

TEST_P(listener_test, a_file_that_has_taken_the_place_of_its_own_is_left_alone) {
  const std::string path = path_for_test();
  on_fiber([&] {
    for (const bool by_close : {true, false}) {
      auto l = unix_listener::bind(endpoint::parse("unix:" + path));
      std::filesystem::remove(path);
      std::ofstream(path) << "somebody else's";
      if (by_close)
        l.close();
      else
        l = {};
      EXPECT_TRUE(std::filesystem::exists(path));
      std::filesystem::remove(path);
    }
    auto first = unix_listener::bind(endpoint::parse("unix:" + path));
    std::filesystem::remove(path);
    auto second = unix_listener::bind(endpoint::parse("unix:" + path));
    first.close();
    auto client = unix_stream::connect(second.local());
    EXPECT_TRUE(second.accept().is_open());
  });
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_P(listener_test, replace_stale_replaces_nothing_that_is_no_socket) {
  const std::string path = path_for_test();
  on_fiber([&] {
    std::ofstream(path) << "data";
    EXPECT_EQ(error_of([&] {
                unix_listener::bind(endpoint::parse("unix:" + path), {.replace_stale = true});
              }),
              std::errc::address_in_use);
    EXPECT_EQ(std::filesystem::file_size(path), 4U);
    std::filesystem::remove(path);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto at = endpoint::parse("unix:" + path);
    EXPECT_EQ(::bind(fd, static_cast<const sockaddr*>(at.native()),
                     static_cast<socklen_t>(at.native_size())),
              0);
    ::close(fd);
    auto fresh = unix_listener::bind(at, {.replace_stale = true});
    auto client = unix_stream::connect(at);
    EXPECT_TRUE(fresh.accept().is_open());
  });
}

// --- those that the process inherits, as systemd hands them over ---

// Listening, from descriptor 3 on; what is there already is closed.
void become_socket_activated(const std::vector<endpoint>& at, const char* names) {
  int next = 3;
  for (const endpoint& e : at) {
    const auto* address = static_cast<const sockaddr*>(e.native());
    const int fd = ::socket(address->sa_family, SOCK_STREAM, 0);
    ::bind(fd, address, static_cast<socklen_t>(e.native_size()));
    ::listen(fd, 8);
    if (fd != next) {
      ::dup2(fd, next);
      ::close(fd);
    }
    ++next;
  }
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(at.size()).c_str(), 1);
  names == nullptr ? ::unsetenv("LISTEN_FDNAMES") : ::setenv("LISTEN_FDNAMES", names, 1);
}

void serves_what_it_inherits() {
  if (uring_is_denied()) ::unsetenv("COIR_REACTOR");  // which may ask for it
  const auto local = endpoint::parse("unix:@" + path_for_test());
  become_socket_activated({any_port, local}, "web:");
  const auto all = listen_handles();
  if (all.size() != 2 || all[0].name != "web" || all[1].name != "unknown") std::_Exit(1);
  if (all[0].handle != 3 || all[1].handle != 4) std::_Exit(2);
  if ((::fcntl(3, F_GETFD) & ::fcntl(4, F_GETFD) & FD_CLOEXEC) == 0) std::_Exit(3);
  run([&] {
    const auto hello = [](auto peer) { peer.write("hello"); };
    server web(tcp_listener::adopt(all[0].handle), hello);
    server near(unix_listener::adopt(all[1].handle), hello);
    auto serving = spawn([&] { web.serve(); });
    auto near_serving = spawn([&] { near.serve(); });
    auto a = tcp_stream::connect(web.listener().local());
    if (reader(a).read_all() != "hello") std::_Exit(4);
    auto b = unix_stream::connect(local);
    if (reader(b).read_all() != "hello") std::_Exit(5);
    web.stop(10s);
    near.stop(10s);
  });
  std::_Exit(0);
}

void leaves_what_it_inherits_listening() {
  if (uring_is_denied()) ::unsetenv("COIR_REACTOR");
  const auto local = endpoint::parse("unix:@" + path_for_test());
  become_socket_activated({any_port, local}, nullptr);
  const int kept[] = {::dup(3), ::dup(4)};
  const auto hello = [](auto peer) { peer.write("hello"); };
  for (int round = 0; round < 2; ++round)  // the service restarts
    run([&] {
      server web(tcp_listener::adopt(round == 0 ? 3 : ::dup(kept[0])), hello);
      server near(unix_listener::adopt(round == 0 ? 4 : ::dup(kept[1])), hello);
      const endpoint at = web.listener().local();
      auto serving = spawn([&] { web.serve(); });
      auto near_serving = spawn([&] { near.serve(); });
      auto a = tcp_stream::connect(at);
      if (reader(a).read_all() != "hello") std::_Exit(1);
      auto b = unix_stream::connect(local);
      if (reader(b).read_all() != "hello") std::_Exit(2);
      web.stop(10s);
      near.stop(10s);
      auto waits = tcp_stream::connect(at);  // until somebody serves again
      auto waits_too = unix_stream::connect(local);
      for (const int fd : kept) {
        const int accepted = ::accept(fd, nullptr, nullptr);
        if (accepted < 0) std::_Exit(3);
        ::close(accepted);
      }
    });
  std::_Exit(0);
}

void finds_what_is_wrong() {
  const auto is_refused = [](const char* variable, const char* value) {
    ::setenv(variable, value, 1);
    try {
      listen_handles();
    } catch (const std::invalid_argument& e) {
      return std::string(e.what()).find(variable) != std::string::npos;
    }
    return false;
  };
  become_socket_activated({any_port}, nullptr);
  if (listen_handles().size() != 1 || listen_handles()[0].name != "unknown") std::_Exit(1);
  if (!is_refused("LISTEN_FDS", "two") || !is_refused("LISTEN_FDS", "-1")) std::_Exit(2);
  ::setenv("LISTEN_FDS", "1000000", 1);
  if (error_of([] { listen_handles(); }) != std::errc::bad_file_descriptor) std::_Exit(3);
  ::unsetenv("LISTEN_FDS");
  if (!listen_handles().empty()) std::_Exit(4);
  if (!is_refused("LISTEN_PID", "")) std::_Exit(5);
  ::setenv("LISTEN_FDS", "1", 1);
  ::setenv("LISTEN_PID", std::to_string(::getppid()).c_str(), 1);
  if (!listen_handles().empty()) std::_Exit(6);  // they were for somebody else
  ::unsetenv("LISTEN_PID");
  if (!listen_handles().empty()) std::_Exit(7);
  std::_Exit(0);
}

// Each in a process of its own: they change the environment, and descriptors of others.
TEST(socket_activation, serves_what_it_inherits) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(serves_what_it_inherits(), ::testing::ExitedWithCode(0), "");
}
TEST(socket_activation, leaves_what_it_inherits_listening) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const char* const reactor : {"uring", "uring_oneshot", "epoll"}) {
    if (!uring_is_denied()) ::setenv("COIR_REACTOR", reactor, 1);
    EXPECT_EXIT(leaves_what_it_inherits_listening(), ::testing::ExitedWithCode(0), "") << reactor;
  }
  ::unsetenv("COIR_REACTOR");
}
TEST(socket_activation, finds_what_is_wrong) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(finds_what_is_wrong(), ::testing::ExitedWithCode(0), "");
}

TEST(plain_thread, may_not_do_io) {
  std::error_code error;
  char buffer[8];
  tcp_stream none;
  EXPECT_EQ(none.read_some(buffer, error), 0U);
  EXPECT_EQ(error, std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { tcp_listener::bind(any_port); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { tcp_stream::connect(any_port); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { wait_readable(0); }), std::errc::operation_not_permitted);
}

TEST(plain_thread, is_told_what_to_do) {
  const auto told = [](auto&& call) {
    try {
      call();
      ADD_FAILURE() << "it was done";
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::operation_not_permitted);
      EXPECT_NE(std::string(e.what()).find("coir::run"), std::string::npos) << e.what();
    }
  };
  told([] { tcp_stream::connect(any_port); });
  told([] { tcp_stream::connect("localhost", "80"); });
  told([] { resolve("localhost", "80"); });
  told([] { run_process({"true"}); });
  told([] { offload([] {}); });
  told([] { with_timeout(1s, [] {}); });
  told([] { with_group([](task_group&) {}); });
  told([] { gather([] {}, [] {}); });
  told([] { call_later(1s, [] {}); });
}

}  // namespace
}  // namespace coir::testing
