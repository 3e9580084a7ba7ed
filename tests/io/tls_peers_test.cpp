// TLS against others: openssl s_client and s_server, curl. What is not installed is skipped.
#include "child.hpp"
#include "tls_fixture.hpp"

namespace coir::testing {
namespace {

class tls_peers_test : public io_test {
 protected:
  void SetUp() override {
    if (!is_installed("openssl")) GTEST_SKIP() << "no openssl command";
  }
};
INSTANTIATE_TEST_SUITE_P(rungs, tls_peers_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

// Echoes to whoever comes, one connection after another, while it lives.
class echo_service {
 public:
  explicit echo_service(tls_context context)
      : context_(std::move(context)), listener_(tcp_listener::bind(any_port)) {
    serving_ = spawn([this] { serve(); });
  }
  std::string port() const { return std::to_string(listener_.local().port()); }
  std::string address() const { return "127.0.0.1:" + port(); }

  std::string seen, protocol, last_error;  // of the last connection, once it has ended
  event ended;

 private:
  void serve() {
    for (;;) {
      std::error_code e;
      tls_stream s = tls_stream::accept(listener_.accept(), context_, e);
      if (!e) {
        protocol = s.version() + " " + s.alpn() + (s.resumed() ? " resumed" : "");
        char buffer[1000];
        while (const std::size_t n = s.read_some(buffer, e)) {
          seen.append(buffer, n);
          s.write(std::string_view(buffer, n), e);
        }
        std::error_code ignored;
        s.shutdown_write(ignored);
      }
      last_error = e ? e.message() : "";
      ended.set();
    }
  }
  tls_context context_;
  tcp_listener listener_;
  task<void> serving_;
};

std::vector<std::string> s_client(const echo_service& to, std::vector<std::string> more = {}) {
  std::vector<std::string> words{"openssl",
                                 "s_client",
                                 "-connect",
                                 to.address(),
                                 "-CAfile",
                                 certificate_folder::get().authority.string(),
                                 "-verify_return_error",
                                 "-verify_hostname",
                                 "localhost"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_P(tls_peers_test, s_client_is_echoed_to_and_changes_keys) {
  on_fiber([] {
    tls_context context = server_context();
    context.set_alpn({"echo/1"});
    echo_service echo(std::move(context));
    child peer(s_client(echo, {"-alpn", "echo/1", "-servername", "localhost"}));
    peer.hears("Verification: OK");
    peer.hears("ALPN protocol: echo/1");
    peer.say("first line\n");
    peer.hears("first line\n");
    for (const char* const command : {"k\n", "K\n"}) {  // without and with a request for ours
      peer.say(command);
      peer.hears("KEYUPDATE");
      peer.say("another line\n");
      peer.hears("another line\n");
    }
    peer.say("Q\n");
    EXPECT_EQ(peer.ends(), 0);
    echo.ended.wait();
    EXPECT_EQ(echo.last_error, "") << "its close_notify was not seen";
    EXPECT_EQ(echo.seen, "first line\nanother line\nanother line\n");
    EXPECT_EQ(echo.protocol, "TLSv1.3 echo/1");
  });
}

TEST_P(tls_peers_test, s_client_of_tls_1_2_is_echoed_to_and_not_renegotiated_with) {
  on_fiber([] {
    echo_service echo(server_context());
    child peer(s_client(echo, {"-tls1_2"}));
    peer.hears("Verify return code: 0 (ok)");
    peer.say("hello\n");
    peer.hears("hello\n");
    peer.say("R\n");
    peer.hears("RENEGOTIATING");
    peer.ends();
    EXPECT_NE(peer.said().find("no renegotiation"), std::string::npos) << peer.said();
    echo.ended.wait();
    EXPECT_EQ(echo.protocol, "TLSv1.2 ");
    EXPECT_EQ(echo.seen, "hello\n");
  });
}

TEST_P(tls_peers_test, s_client_below_tls_1_2_is_refused) {
  on_fiber([] {
    echo_service echo(server_context());
    child peer(s_client(echo, {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}));
    EXPECT_NE(peer.ends(), 0);
    echo.ended.wait();
    EXPECT_EQ(echo.last_error, "unsupported protocol");
  });
}

TEST_P(tls_peers_test, s_client_resumes_by_its_ticket) {
  on_fiber([] {
    echo_service echo(server_context());
    const auto file = certificate_folder::get().write("session", "").string();
    for (const bool again : {false, true}) {
      echo.ended.reset();
      child peer(s_client(echo, {again ? "-sess_in" : "-sess_out", file}));
      peer.hears("Verify return code: 0 (ok)");
      peer.say("hello\n");
      peer.hears("hello\n");
      peer.say("Q\n");
      EXPECT_EQ(peer.ends(), 0);
      echo.ended.wait();
      EXPECT_EQ(echo.protocol, again ? "TLSv1.3  resumed" : "TLSv1.3 ");
    }
  });
}

// s_server -rev: gives each line back reversed.
class reversing_server : public child {
 public:
  explicit reversing_server(const credentials& c, std::vector<std::string> more = {})
      : child(words(c, std::move(more))) {
    hears("ACCEPT");
    hears("\n");
    const std::string line = said().substr(said().find("ACCEPT"));
    const auto colon = line.find_last_of(':', line.find('\n'));
    at = endpoint::parse("127.0.0.1:" + line.substr(colon + 1, line.find('\n') - colon - 1));
  }
  endpoint at;

 private:
  static std::vector<std::string> words(const credentials& c, std::vector<std::string> more) {
    std::vector<std::string> all{"openssl", "s_server",       "-accept",     "127.0.0.1:0",
                                 "-cert",   c.chain.string(), "-cert_chain", c.chain.string(),
                                 "-key",    c.key.string(),   "-rev"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

std::string reversed_by(tls_stream& s, std::string_view line) {
  s.write(std::string(line) + "\n");
  std::string got;
  char c;
  do {
    s.read_exactly(std::span(&c, 1));
    got += c;
  } while (c != '\n');
  return got;
}

TEST_P(tls_peers_test, s_server_answers_and_resumes) {
  on_fiber([] {
    for (const std::string version : {"-tls1_2", "-tls1_3"}) {
      reversing_server server(certificate_folder::get().good, {version, "-alpn", "rev,other"});
      tls_context client = client_context();
      client.set_alpn({"other", "rev"});
      for (const bool again : {false, true}) {
        auto s = tls_stream::connect(tcp_stream::connect(server.at), client, "localhost");
        EXPECT_EQ(s.version(), version == "-tls1_2" ? "TLSv1.2" : "TLSv1.3");
        EXPECT_EQ(s.alpn(), "rev");
        EXPECT_EQ(s.resumed(), again);
        EXPECT_EQ(reversed_by(s, "hello"), "olleh\n");
        EXPECT_EQ(reversed_by(s, std::string(10'000, 'x') + "y"),
                  "y" + std::string(10'000, 'x') + "\n");
        s.shutdown_write();
      }
    }
  });
}

TEST_P(tls_peers_test, s_server_is_told_the_name_but_no_address) {
  on_fiber([] {
    const credentials& c = certificate_folder::get().good;
    reversing_server server(c, {"-servername", "a.coir.test", "-servername_fatal", "-cert2",
                                c.chain.string(), "-key2", c.key.string()});
    const auto answer_to = [&](std::string_view host) {
      return error_of([&] {
        auto s = tls_stream::connect(tcp_stream::connect(server.at), client_context(), host);
        EXPECT_EQ(reversed_by(s, "hello"), "olleh\n");
        s.shutdown_write();
      });
    };
    EXPECT_EQ(answer_to("A.coir.test."), std::error_code());
    EXPECT_EQ(answer_to("127.0.0.1"), std::error_code());
    EXPECT_EQ(answer_to("b.coir.test"), tls_errc::protocol_violated);  // it refuses other names
  });
}

TEST_P(tls_peers_test, s_server_with_a_bad_certificate_is_rejected) {
  on_fiber([] {
    reversing_server server(certificate_folder::get().expired);
    const auto e = error_of([&] {
      tls_stream::connect(tcp_stream::connect(server.at), client_context(), "localhost");
    });
    EXPECT_EQ(e, tls_errc::certificate_rejected);
    EXPECT_NE(e.message().find("expired"), std::string::npos) << e.message();
    server.hears("certificate expired");  // our alert
  });
}

TEST_P(tls_peers_test, curl_gets_a_page_from_a_server_of_ours) {
  if (!is_installed("curl")) GTEST_SKIP() << "no curl";
  on_fiber([] {
    tls_context context = server_context(certificate_folder::get().through_intermediate);
    context.set_alpn({"http/1.1"});
    const std::string page = pattern(1'000'000);
    server srv(tcp_listener::bind(any_port), [&](tcp_stream c) {
      tls_stream s = tls_stream::accept(std::move(c), context);
      std::string request;
      char buffer[1000];
      while (request.find("\r\n\r\n") == request.npos) {
        const std::size_t n = s.read_some(buffer);
        if (n == 0) return;  // it has ended
        request.append(buffer, n);
      }
      s.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n");
      s.write(page);
      s.shutdown_write();
      while (s.read_some(buffer) != 0) {}
    });
    auto serving = spawn([&] { srv.serve(); });
    const std::string at = "localhost:" + std::to_string(srv.listener().local().port());
    const auto curl = [&](const std::string& ca) {
      return std::vector<std::string>{"curl",
                                      "-sS",
                                      "--noproxy",
                                      "*",
                                      "--cacert",
                                      ca,
                                      "--resolve",
                                      at + ":127.0.0.1",
                                      "https://" + at + "/page"};
    };
    child good(curl(certificate_folder::get().authority.string()));
    EXPECT_EQ(good.ends(), 0);
    EXPECT_TRUE(good.said() == page) << good.said().substr(0, 200);
    child bad(curl(certificate_folder::get().self_signed.chain.string()));
    EXPECT_EQ(bad.ends(), 60) << bad.said();  // it does not trust us
    srv.stop(10s);
    serving.get();
  });
}

}  // namespace
}  // namespace coir::testing
