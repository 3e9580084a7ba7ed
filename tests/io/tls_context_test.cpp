// tls_context: whom it trusts, what it says when it does not, what its files may be, sessions.
#include <fstream>

#include "tls_fixture.hpp"

namespace coir::testing {
namespace {

const certificate_folder& certificates() { return certificate_folder::get(); }

class tls_context_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, tls_context_test, ::testing::ValuesIn(rungs({1, 4})), rung_name);

// What a client says of a server with these credentials; "": it is content.
std::string verdict(const credentials& of_server, std::string_view host,
                    const tls_context& client = client_context()) {
  auto [a, b] = tcp_pair();
  const tls_context server = server_context(of_server);
  auto accepting = spawn([&, t = std::move(b)]() mutable {
    std::error_code error;
    tls_stream s = tls_stream::accept(std::move(t), server, error);
    if (!error) s.shutdown_write(error);
    return error;
  });
  std::string said;
  try {
    tls_stream s = tls_stream::connect(std::move(a), client, host);
    char buffer[1];
    EXPECT_EQ(s.read_some(buffer), 0U);
  } catch (const std::system_error& e) {
    said = e.what();
    EXPECT_EQ(e.code(), tls_errc::certificate_rejected) << said;
    EXPECT_NE(said.find('"' + std::string(host) + '"'), said.npos) << said;
    // The server is told why.
    const std::string told = accepting.get().message();
    EXPECT_NE(told.find("the peer says"), told.npos) << told;
  }
  return said;
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

TEST_P(tls_context_test, names_and_addresses_of_the_certificate_are_accepted) {
  on_fiber([] {
    for (const auto host : {"localhost", "LocalHost", "localhost.", "x.coir.test", "127.0.0.1",
                            "::1", "[::1]", "0:0::1"})
      EXPECT_EQ(verdict(certificates().good, host), "") << host;
    EXPECT_EQ(verdict(certificates().through_intermediate, "localhost"), "");
  });
}

TEST_P(tls_context_test, other_hosts_are_rejected) {
  on_fiber([] {
    for (const auto host : {"example.com", "coir.test", "a.b.coir.test", "xlocalhost"})
      EXPECT_TRUE(has(verdict(certificates().good, host), "hostname mismatch")) << host;
    for (const auto host : {"127.0.0.2", "::2"})
      EXPECT_TRUE(has(verdict(certificates().good, host), "IP address mismatch")) << host;
    EXPECT_TRUE(has(verdict(certificates().other_host, "localhost"), "hostname mismatch"));
    // An address is no name, and a common name is none either (RFC 9525).
    EXPECT_TRUE(has(verdict(certificates().through_intermediate, "127.0.0.1"), "mismatch"));
    EXPECT_TRUE(has(verdict(certificates().only_common_name, "localhost"), "hostname mismatch"));
  });
}

TEST_P(tls_context_test, certificates_that_are_no_good_are_rejected_with_the_reason) {
  on_fiber([] {
    EXPECT_TRUE(has(verdict(certificates().expired, "localhost"), "certificate has expired"));
    EXPECT_TRUE(has(verdict(certificates().not_yet, "localhost"), "not yet valid"));
    EXPECT_TRUE(has(verdict(certificates().self_signed, "localhost"), "self-signed certificate"));
    EXPECT_TRUE(has(verdict(certificates().good, "localhost", tls_context::client()),
                    "unable to get local issuer certificate"));
  });
}

TEST_P(tls_context_test, set_verify_false_accepts_all_and_true_makes_it_strict_again) {
  on_fiber([] {
    tls_context lax = tls_context::client();
    lax.set_verify(false);
    for (const credentials& c : {certificates().expired, certificates().self_signed,
                                 certificates().other_host, certificates().good}) {
      EXPECT_EQ(verdict(c, "localhost", lax), "");
      EXPECT_EQ(verdict(c, "", lax), "");
    }
    // Nothing that was resumed is verified again: sessions from before must not be used.
    const tls_context server = server_context();
    {
      auto ends = tls_pair(lax, server);
      ends.server.write("x");
      char c;
      ends.client.read_exactly({&c, 1});
    }
    EXPECT_TRUE(tls_pair(lax, server).client.resumed());
    {
      auto ends = tls_pair(lax, server);
      ends.server.write("x");
      char c;
      ends.client.read_exactly({&c, 1});
    }
    lax.set_verify(true);
    EXPECT_EQ(error_of([&] { tls_pair(lax, server); }), tls_errc::certificate_rejected);
  });
}

TEST_P(tls_context_test, hosts_that_cannot_be_verified_are_bad_arguments) {
  on_fiber([] {
    const std::vector<std::string_view> hosts{"", "b\xc3\xbc", "a b", {"a\0b", 3}};
    for (const std::string_view host : hosts)
      EXPECT_THROW(tls_stream::connect(tcp_stream(), client_context(), host),
                   std::invalid_argument);
    EXPECT_THROW(tls_stream::connect(tcp_stream(), tls_context(), "h"), std::invalid_argument);
    EXPECT_THROW(tls_stream::connect(tcp_stream(), server_context(), "h"), std::invalid_argument);
    EXPECT_THROW(tls_stream::accept(tcp_stream(), client_context()), std::invalid_argument);
  });
}

std::string what_of(const std::filesystem::path& chain, const std::filesystem::path& key,
                    std::error_code expected_code, std::error_condition expected) {
  try {
    tls_context::server(chain, key);
  } catch (const std::system_error& e) {
    EXPECT_TRUE(e.code() == expected || e.code() == expected_code) << e.what();
    std::error_code same;
    tls_context::server(chain, key, same);
    EXPECT_EQ(same, e.code());
    return e.what();
  }
  ADD_FAILURE() << chain << key;
  return {};
}

TEST(tls_credentials, errors_name_the_file_and_the_reason) {
  const auto& c = certificates();
  const auto bad = [](const auto& chain, const auto& key) {
    return what_of(chain, key, {}, tls_errc::bad_credentials);
  };
  const auto missing = [](const auto& chain, const auto& key) {
    return what_of(chain, key, {}, std::errc::no_such_file_or_directory);
  };
  const auto expect = [](const std::string& said, std::string_view file, std::string_view why) {
    EXPECT_TRUE(has(said, file) && has(said, why)) << said;
  };
  expect(missing("/nowhere/chain.pem", c.good.key), "certificate chain \"/nowhere/chain.pem\"",
         "No such file");
  expect(missing(c.good.chain, "/nowhere/key.pem"), "private key \"/nowhere/key.pem\"",
         "No such file");
  expect(what_of("/", c.good.key, {}, std::errc::is_a_directory), "\"/\"", "s a directory");
  const auto text = c.write("text.pem", "no certificate\n"), none = c.write("none.pem", "");
  const auto broken =
      c.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  for (const auto& file : {text, none, c.good.key})
    expect(bad(file, c.good.key), file.string(), "no PEM certificate");
  expect(bad(broken, c.good.key), broken.string(), "cannot be read");
  for (const auto& file : {text, none, c.good.chain})
    expect(bad(c.good.chain, file), file.string(), "no PEM private key");
  expect(bad(c.good.chain, c.other_host.key), c.other_host.key.string(),
         "not the key of the certificate in \"" + c.good.chain.string() + "\"");
  std::ifstream good(c.good.chain);
  const std::string first((std::istreambuf_iterator<char>(good)), {});
  const auto half = c.write("half.pem", first + "-----BEGIN CERTIFICATE-----\nAAAA\n");
  expect(bad(half, c.good.key), half.string(), "cannot be read");
}

TEST(tls_credentials, a_key_with_a_passphrase_is_refused_and_nobody_is_asked) {
  const auto& c = certificates();
  const auto locked = c.write("locked.key", "");
  const std::string command = "openssl pkcs8 -topk8 -in '" + c.good.key.string() +
                              "' -passout pass:secret -out '" + locked.string() + "'";
  if (std::system("command -v openssl >/dev/null") != 0) GTEST_SKIP() << "no openssl command";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_TRUE(has(what_of(c.good.chain, locked, {}, tls_errc::bad_credentials), "encrypted"));
}

TEST(tls_credentials, trusted_files_are_checked_as_well) {
  tls_context c = tls_context::client();
  EXPECT_EQ(error_of([&] { c.add_trusted("/nowhere.pem"); }), std::errc::no_such_file_or_directory);
  const auto text = certificates().write("words.pem", "words\n");
  EXPECT_EQ(error_of([&] { c.add_trusted(text); }), tls_errc::bad_credentials);
  std::error_code error;
  c.add_trusted(text, error);
  EXPECT_EQ(error, tls_errc::bad_credentials);
  c.add_trusted(certificates().authority, error);
  EXPECT_FALSE(error);
  c.add_trusted(certificates().authority);  // twice is once
  EXPECT_THROW(tls_context().set_verify(true), std::invalid_argument);
  EXPECT_THROW(c.set_alpn({""}), std::invalid_argument);
  EXPECT_THROW(c.set_alpn({std::string(256, 'x')}), std::invalid_argument);
}

TEST_P(tls_context_test, protocols_are_agreed_on_by_the_servers_preference) {
  on_fiber([] {
    tls_context client = client_context(), server = server_context();
    EXPECT_EQ(tls_pair(client, server).client.alpn(), "");
    client.set_alpn({"http/1.1", "h2"});
    EXPECT_EQ(tls_pair(client, server).client.alpn(), "") << "the server has none";
    server.set_alpn({"h2", "http/1.1"});
    auto ends = tls_pair(client, server);
    EXPECT_EQ(ends.client.alpn(), "h2");
    EXPECT_EQ(ends.server.alpn(), "h2");
    EXPECT_EQ(tls_pair(client_context(), server).server.alpn(), "") << "the client has none";
    client.set_alpn({"smtp"});
    EXPECT_EQ(error_of([&] { tls_pair(client, server); }), tls_errc::protocol_violated);
  });
}

// The tickets of TLS 1.3 come with the first read.
bool resumes(const tls_context& client, const tls_context& server, std::string_view host) {
  auto ends = tls_pair(client, server, host);
  ends.server.write("x");
  char c;
  ends.client.read_exactly({&c, 1});
  EXPECT_EQ(ends.client.resumed(), ends.server.resumed());
  return ends.client.resumed();
}

TEST_P(tls_context_test, a_client_resumes_sessions_with_the_same_host_alone) {
  on_fiber([] {
    const tls_context client = client_context(), server = server_context();
    EXPECT_FALSE(resumes(client, server, "localhost"));
    EXPECT_TRUE(resumes(client, server, "localhost"));
    EXPECT_TRUE(resumes(client, server, "LOCALHOST."));
    EXPECT_FALSE(resumes(client, server, "a.coir.test"));
    EXPECT_FALSE(resumes(client_context(), server, "localhost")) << "another context's";
    EXPECT_FALSE(resumes(client, server_context(), "localhost")) << "another server's";
    EXPECT_TRUE(resumes(client, server, "a.coir.test"));
  });
}

TEST_P(tls_context_test, a_context_may_go_before_its_streams) {
  on_fiber([] {
    auto ends = tls_pair();
    ends.client.write("x");
    char c;
    ends.server.read_exactly({&c, 1});
    ends.server.write("y");
    ends.client.read_exactly({&c, 1});
    EXPECT_EQ(c, 'y');
  });
}

TEST_P(tls_context_test, a_server_that_verifies_wants_a_certificate_that_it_trusts) {
  on_fiber([] {
    tls_context server = server_context(), client = client_context();
    server.add_trusted(certificates().authority);
    server.set_verify(true);
    const auto accepted = [&] {
      auto [a, b] = tcp_pair();
      auto accepting = spawn([&, t = std::move(b)]() mutable {
        std::error_code e;
        tls_stream s = tls_stream::accept(std::move(t), server, e);
        return e;
      });
      std::error_code e;
      tls_stream s = tls_stream::connect(std::move(a), client, "localhost", e);
      EXPECT_FALSE(e) << e.message();
      return accepting.get();
    };
    EXPECT_EQ(accepted(), tls_errc::protocol_violated) << "it shows none";
    client.set_certificate(certificates().self_signed.chain, certificates().self_signed.key);
    EXPECT_EQ(accepted(), tls_errc::certificate_rejected);
    client.set_certificate(certificates().client.chain, certificates().client.key);
    EXPECT_FALSE(accepted());
  });
}

}  // namespace
}  // namespace coir::testing
