// Connecting by name: which address wins, what becomes of the others, what is said if none does.
#include <random>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "fake_names.hpp"
#include "io/dial.hpp"
#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class connect_by_name_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, connect_by_name_test, every_rung(), rung_name);

std::string port_of(const tcp_listener& l) { return std::to_string(l.local().port()); }
endpoint with_port(const char* address, const std::string& port) {
  return endpoint::parse(std::string(address) + ":" + port);
}
// A port of loopback at which nobody listens, whatever the address.
std::string closed_port() { return port_of(tcp_listener::bind(endpoint::parse("0.0.0.0:0"))); }

// Listens, and answers no more: its backlog is full, and so the kernel drops who knocks.
class silent_listener {
 public:
  explicit silent_listener(const endpoint& at) {
    add();
    const int on = 1;
    ::setsockopt(all_[0], SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    EXPECT_EQ(::bind(all_[0], static_cast<const sockaddr*>(at.native()),
                     static_cast<socklen_t>(at.native_size())),
              0);
    EXPECT_EQ(::listen(all_[0], 0), 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(all_[0], reinterpret_cast<sockaddr*>(&bound), &size);
    address_ = endpoint::from_native(&bound, size);
    pollfd made{};
    do {
      made = {add(), POLLOUT, 0};
      (void)::connect(made.fd, reinterpret_cast<const sockaddr*>(&bound), size);
    } while (::poll(&made, 1, 50) > 0);
  }
  ~silent_listener() {
    for (const int fd : all_) ::close(fd);
  }
  silent_listener(const silent_listener&) = delete;
  silent_listener& operator=(const silent_listener&) = delete;

  const endpoint& address() const { return address_; }

  // Takes those who fill the backlog away.
  void listen_again() {
    while (all_.size() > 1) {
      ::close(all_.back());
      all_.pop_back();
    }
    for (int fd; (fd = ::accept(all_[0], nullptr, nullptr)) >= 0;) ::close(fd);
  }
  // After that: who has come since, and who of them is still there.
  unsigned accepted() {
    for (int fd; (fd = ::accept4(all_[0], nullptr, nullptr, SOCK_CLOEXEC)) >= 0;)
      all_.push_back(fd);
    return static_cast<unsigned>(all_.size()) - 1;
  }
  unsigned connected() {
    unsigned n = 0;
    accepted();
    for (std::size_t i = 1; i < all_.size(); ++i) {
      char c[1];
      n += ::recv(all_[i], c, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
    }
    return n;
  }

 private:
  int add() {
    all_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    return all_.back();
  }
  std::vector<int> all_;
  endpoint address_;
};

TEST_P(connect_by_name_test, a_name_leads_to_its_address) {
  fake_names::set("one.test", {"127.0.0.1"});
  on_fiber([] {
    auto l = tcp_listener::bind(any_port);
    auto s = tcp_stream::connect("one.test", port_of(l));
    EXPECT_EQ(s.remote(), l.local());
    auto t = tcp_stream::connect("127.0.0.1", port_of(l));
    std::error_code error = std::make_error_code(std::errc::io_error);
    auto u = tcp_stream::connect("localhost", port_of(l), error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_TRUE(u.is_open());
  });
}

TEST_P(connect_by_name_test, the_next_address_follows_one_that_refuses) {
  fake_names::set("two.test", {"127.0.0.2", "::1", "127.0.0.1"});
  on_fiber([] {
    auto l = tcp_listener::bind(any_port);
    for (int i = 0; i < 20; ++i) {
      const std::size_t before = open_descriptors();
      auto s = tcp_stream::connect("two.test", port_of(l));
      EXPECT_EQ(s.remote(), l.local());
      EXPECT_EQ(open_descriptors(), before + 1);
      (void)l.accept();
    }
  });
}

// F65
TEST_P(connect_by_name_test, the_next_address_follows_one_that_does_not_answer) {
  on_fiber([] {
    auto l = tcp_listener::bind(any_port);
    const silent_listener silent(with_port("127.0.0.2", port_of(l)));
    fake_names::set("slow.test", {"127.0.0.2", "127.0.0.1"});
    const std::size_t before = open_descriptors();
    const auto start = clock::now();
    auto s = tcp_stream::connect("slow.test", port_of(l));
    EXPECT_GE(clock::now() - start, io::attempt_delay);
    EXPECT_EQ(s.remote(), l.local());
    EXPECT_EQ(open_descriptors(), before + 1) << "the loser is left";
  });
}

// F65: two that did not answer do so at the same time, when their SYNs are sent again, after a
// second.
class late_attempt_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, late_attempt_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

TEST_P(late_attempt_test, is_closed) {
  on_fiber([] {
    silent_listener one(any_port);
    silent_listener two(endpoint::parse("127.0.0.2:0"));
    const std::size_t before = open_descriptors();
    auto dialling = spawn([&] {
      std::vector<connect_attempt> failed;
      return tcp_stream(io::dial({one.address(), two.address()}, 0ms, failed));
    });
    EXPECT_TRUE(eventually_on_fiber([&] { return open_descriptors() == before + 2; }));
    one.listen_again();
    two.listen_again();
    const std::size_t others = open_descriptors() - 2;
    {
      tcp_stream s = dialling.get();
      ASSERT_TRUE(s.is_open());
      EXPECT_EQ(open_descriptors(), others + 1) << "the loser is left";
      EXPECT_TRUE(eventually_on_fiber([&] { return one.connected() + two.connected() == 1; }));
      EXPECT_EQ((s.remote() == one.address() ? one : two).connected(), 1U);
    }
    std::printf("both were accepted: %d\n", one.accepted() + two.accepted() == 2);
  });
}

// F64
TEST_P(connect_by_name_test, an_error_names_each_attempt_with_its_own) {
  fake_names::set("bad.test", {"224.0.0.1", "127.0.0.2", "127.0.0.1"});
  on_fiber([] {
    const std::string port = closed_port();
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 20; ++i) {
      try {
        tcp_stream::connect("bad.test", port);
        ADD_FAILURE();
      } catch (const connect_error& e) {
        ASSERT_EQ(e.attempts().size(), 3U);
        EXPECT_EQ(e.attempts()[0].to, with_port("224.0.0.1", port));
        EXPECT_EQ(e.attempts()[0].error, std::errc::network_unreachable);
        EXPECT_EQ(e.attempts()[1].to, with_port("127.0.0.2", port));
        EXPECT_EQ(e.attempts()[1].error, std::errc::connection_refused);
        EXPECT_EQ(e.attempts()[2].error, std::errc::connection_refused);
        EXPECT_EQ(e.code(), std::errc::connection_refused) << "the most telling";
        const std::string what = e.what();
        for (const char* part : {"\"bad.test\"", "224.0.0.1:", "127.0.0.2:", "127.0.0.1:"})
          EXPECT_NE(what.find(part), std::string::npos) << what;
      }
    }
    EXPECT_EQ(open_descriptors(), before);
  });
}

// F64: each has an error of its own, and none costs a descriptor.
TEST_P(connect_by_name_test, failures_can_be_told_apart) {
  fake_names::fail("gone.test", EAI_NONAME);
  fake_names::set("group.test", {"224.0.0.1"});
  on_fiber([] {
    const silent_listener silent(any_port);
    const std::string port = closed_port();
    const std::string silent_port = std::to_string(silent.address().port());
    const std::size_t before = open_descriptors();
    const auto failure = [](std::string_view host, std::string_view service) {
      try {
        tcp_stream::connect(host, service);
      } catch (const connect_error& e) {
        std::error_code error;
        EXPECT_FALSE(tcp_stream::connect(host, service, error).is_open());
        EXPECT_EQ(error, e.code());
        return std::pair(e.code(), e.attempts().size());
      }
      return std::pair(std::error_code(), std::size_t{99});
    };
    const auto is = [](std::error_code code, std::size_t attempts) {
      return std::pair(code, attempts);
    };
    EXPECT_EQ(failure("127.0.0.1", port),
              is(std::error_code(ECONNREFUSED, std::system_category()), 1));
    EXPECT_EQ(failure("group.test", port),
              is(std::error_code(ENETUNREACH, std::system_category()), 1));
    EXPECT_EQ(failure("gone.test", port), is(resolve_errc::host_not_found, 0));
    EXPECT_EQ(failure("", port), is(resolve_errc::empty_host, 0));
    EXPECT_EQ(failure("127.0.0.1", "65536"), is(resolve_errc::bad_port, 0));
    EXPECT_EQ(failure("127.0.0.1", ""), is(resolve_errc::bad_port, 0));
    EXPECT_THROW(with_timeout(5ms, [&] { tcp_stream::connect("127.0.0.1", silent_port); }),
                 timed_out);
    auto t = spawn([&] { tcp_stream::connect("127.0.0.1", silent_port); });
    await_parked(t);
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_EQ(error_of([] { tcp_stream::connect(endpoint::parse("unix:/x")); }),
              std::errc::address_family_not_supported);
    EXPECT_EQ(open_descriptors(), before);
  });
}

TEST_P(connect_by_name_test, a_cancelled_one_leaves_nothing_open) {
  on_fiber([] {
    auto l = tcp_listener::bind(endpoint::parse("127.0.0.1:0"));
    const silent_listener silent(with_port("127.0.0.2", port_of(l)));
    const silent_listener silent_too(with_port("127.0.0.3", port_of(l)));
    const std::vector<endpoint> to{silent.address(), silent_too.address()};
    const std::size_t before = open_descriptors();
    auto t = spawn([&] {
      std::vector<connect_attempt> failed;
      (void)io::dial(to, 0ms, failed);
    });
    EXPECT_TRUE(eventually_on_fiber([&] { return open_descriptors() == before + 2; }));
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_EQ(open_descriptors(), before);

    const fake_names::blockade none_answers;
    auto asking = spawn([] { tcp_stream::connect("a.blocked", "80"); });
    await_parked(asking);
    asking.cancel();
    EXPECT_THROW(asking.get(), cancelled);
  });
}

TEST_P(connect_by_name_test, cancellation_races_with_the_connection) {
  on_fiber([] {
    auto l = tcp_listener::bind(endpoint::parse("0.0.0.0:0"));
    std::vector<endpoint> to;
    for (const char* a : {"127.0.0.1", "127.0.0.2", "127.0.0.3"})
      to.push_back(with_port(a, port_of(l)));
    server srv(std::move(l), [](tcp_stream s) {
      char c[1];
      std::error_code reset;
      (void)s.read_some(c, reset);
    });
    auto serving = spawn([&] { srv.serve(); });
    unsigned values = 0, cancellations = 0;
    std::mt19937 random(3);
    for (int i = 0; i < rounds(200); ++i) {
      auto t = spawn([&] {
        std::vector<connect_attempt> failed;
        EXPECT_TRUE(io::dial(to, 0ms, failed).is_open());
      });
      for (unsigned n = random() % 12; n != 0; --n) this_fiber::yield();
      if (random() % 3 == 0) t.wait();
      t.cancel();
      t.error() == nullptr ? ++values : ++cancellations;
    }
    srv.stop(10s);
    serving.get();
    std::printf("values %u, cancellations %u\n", values, cancellations);
    if (values + cancellations < 100) return;  // too few to say
    EXPECT_GT(values * 100, values + cancellations);
    EXPECT_GT(cancellations * 100, values + cancellations);
  });
}

TEST(order_of_addresses, takes_the_families_in_turn) {
  const auto e = [](const char* text) { return endpoint::parse(text); };
  const endpoint a = e("[::1]:1"), b = e("[::2]:1"), c = e("[::3]:1"), x = e("1.1.1.1:1"),
                 y = e("2.2.2.2:1");
  using all = std::vector<endpoint>;
  EXPECT_EQ(io::interleaved({a, b, c, x, y}), (all{a, x, b, y, c}));
  EXPECT_EQ(io::interleaved({x, a, b, c, y}), (all{x, a, y, b, c}));
  EXPECT_EQ(io::interleaved({x, y}), (all{x, y}));
  EXPECT_EQ(io::interleaved({}), all{});
}

TEST(order_of_addresses, the_most_telling_error_is_no_lack_of_a_route) {
  const auto code = [](std::errc e) { return std::make_error_code(e); };
  const std::error_code none = code(std::errc::network_unreachable),
                        gone = code(std::errc::connection_refused);
  const endpoint e;
  EXPECT_EQ(io::most_telling({{e, none}, {e, gone}}), gone);
  EXPECT_EQ(io::most_telling({{e, none}, {e, code(std::errc::address_not_available)}}), none);
  EXPECT_EQ(io::most_telling({}), resolve_errc::no_address);
}

TEST(plain_thread, may_not_connect_by_name) {
  EXPECT_EQ(error_of([] { tcp_stream::connect("localhost", "80"); }),
            std::errc::operation_not_permitted);
}

}  // namespace
}  // namespace coir::testing
