// Our servers and names against others' programs: wrk, dig, getent. What is not installed is
// skipped.
#include <set>
#include <sstream>

#include "child.hpp"

namespace coir::testing {
namespace {

class peers_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, peers_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

// Answers whatever is asked, as often as it is asked.
void answer_requests(tcp_stream& client, std::atomic<std::uint64_t>& answered) {
  reader lines(client);
  while (const auto line = lines.read_line()) {
    if (!line->empty()) continue;
    client.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n");
    ++answered;
  }
}

TEST_P(peers_test, wrk_is_served_and_sees_no_error) {
  if (!is_installed("wrk")) GTEST_SKIP() << "no wrk";
  on_fiber([] {
    std::atomic<std::uint64_t> answered{0};
    server pages(tcp_listener::bind(any_port), [&](tcp_stream client) {
      try {
        answer_requests(client, answered);
      } catch (const std::system_error&) {}  // it hangs up in the middle of its last requests
    });
    auto serving = spawn([&] { pages.serve(); });
    child wrk({"wrk", "-t1", "-c50", "-d1s", "--timeout", "60s",
               "http://" + to_string(pages.listener().local()) + "/"});
    EXPECT_EQ(wrk.ends(), 0);
    pages.stop(0s);
    serving.get();
    const std::string said = wrk.said();
    EXPECT_NE(said.find(" requests in "), std::string::npos) << said;
    EXPECT_EQ(said.find("Socket errors"), std::string::npos) << said;
    EXPECT_EQ(said.find("Non-2xx"), std::string::npos) << said;
    EXPECT_GT(answered, 0U);
  });
}

// --- a name server that knows two names: one has an address, the other is too long for a datagram

constexpr std::size_t header = 12;

std::string answer(std::string_view query, bool by_tcp) {
  std::size_t end = header;
  while (end < query.size() && query[end] != 0) end += 1 + static_cast<unsigned char>(query[end]);
  end += 5;
  if (end > query.size()) return {};
  const bool is_long = query.substr(header + 1).starts_with("long");
  const bool is_cut = is_long && !by_tcp;
  std::string reply(query.substr(0, 2));
  reply += {'\x81', '\x80', 0, 1, 0, static_cast<char>(is_cut ? 0 : is_long ? 100 : 1), 0, 0, 0, 0};
  if (is_cut) reply[2] = static_cast<char>(0x83);
  reply += query.substr(header, end - header);
  for (int n = 1; n <= reply[7]; ++n) {
    reply += {'\xC0', '\x0C', 0, 1, 0, 1, 0, 0, 0, 5, 0, 4};
    reply += {static_cast<char>(192), 0, 2, static_cast<char>(n)};
  }
  return reply;
}

class name_server {
 public:
  name_server() {
    for (std::error_code taken; !tcp_.is_open();) {
      udp_ = udp_socket::bind(any_port);
      tcp_ = tcp_listener::bind(udp_.local(), taken);
    }
    datagrams_ = spawn([this] { serve_datagrams(); });
    streams_ = spawn([this] {
      for (;;) serve_stream(tcp_.accept());
    });
  }
  std::string port() const { return std::to_string(tcp_.local().port()); }

 private:
  void serve_datagrams() {
    for (char query[512];;) {
      const datagram got = udp_.recv_from(query);
      udp_.send_to(answer({query, got.size}, false), got.from);
    }
  }
  static void serve_stream(tcp_stream client) {
    std::error_code error;
    unsigned char size[2];
    client.read_exactly(std::as_writable_bytes(std::span(size)), error);
    if (error) return;
    std::string query(std::size_t{size[0]} << 8 | size[1], 0);
    client.read_exactly(query, error);
    if (error) return;
    const std::string reply = answer(query, true);
    client.write(
        std::string{static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size())} + reply,
        error);
  }

  udp_socket udp_;
  tcp_listener tcp_;
  task<void> datagrams_, streams_;
};

TEST_P(peers_test, dig_is_answered_by_datagram_and_by_stream) {
  if (!is_installed("dig")) GTEST_SKIP() << "no dig";
  on_fiber([] {
    name_server names;
    const auto dig = [&](std::vector<std::string> more) {
      std::vector<std::string> words{"dig", "@127.0.0.1", "-p", names.port(), "+short", "+time=60"};
      words.insert(words.end(), more.begin(), more.end());
      child asks(words);
      EXPECT_EQ(asks.ends(), 0);
      return asks.said();
    };
    EXPECT_EQ(dig({"short.test"}), "192.0.2.1\n");
    EXPECT_EQ(dig({"+tcp", "short.test"}), "192.0.2.1\n");
    const std::string all = dig({"long.test"});  // cut, so that it asks again by stream
    EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 100);
    EXPECT_NE(all.find("192.0.2.100\n"), std::string::npos) << all;
  });
}

TEST_P(peers_test, resolve_answers_what_getent_does) {
  if (!is_installed("getent")) GTEST_SKIP() << "no getent";
  on_fiber([] {
    child getent({"getent", "ahosts", "localhost"});
    ASSERT_EQ(getent.ends(), 0);
    std::set<std::string> theirs, ours;
    std::istringstream lines(getent.said());
    for (std::string line; std::getline(lines, line);)
      theirs.insert(line.substr(0, line.find(' ')));
    for (const endpoint& e : resolve("localhost", "80")) {
      std::string text = to_string(e);
      text.resize(text.rfind(':'));
      ours.insert(text.starts_with('[') ? text.substr(1, text.size() - 2) : text);
    }
    EXPECT_EQ(ours, theirs);
  });
}

}  // namespace
}  // namespace coir::testing
