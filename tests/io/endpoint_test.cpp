#include <gtest/gtest.h>

#include <map>
#include <unordered_set>

#include <coir/io/endpoint.hpp>

namespace coir {
namespace {

TEST(endpoint, names_what_it_was_parsed_from) {
  for (const char* text :
       {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0",
        "[2001:db8::1]:443", "[fe80::1%1]:80", "unix:/run/x.sock", "unix:x", "unix:@abstract"})
    EXPECT_EQ(to_string(endpoint::parse(text)), text);
  EXPECT_EQ(to_string(endpoint::parse("[0:0:0:0:0:0:0:1]:080")), "[::1]:80");
}

TEST(endpoint, has_a_port_a_family_and_a_path) {
  EXPECT_EQ(endpoint::parse("1.2.3.4:65535").port(), 65535);
  EXPECT_EQ(endpoint::parse("[::1]:1").port(), 1);
  EXPECT_EQ(endpoint::parse("unix:/a").port(), 0);
  EXPECT_EQ(endpoint::parse("unix:/a").path(), "/a");
  EXPECT_EQ(endpoint::parse("unix:@a").path(), std::string_view("\0a", 2));
  EXPECT_EQ(endpoint::parse("[::1]:1").kind(), endpoint::family::ipv6);
  EXPECT_EQ(endpoint().kind(), endpoint::family::none);
  EXPECT_EQ(to_string(endpoint()), "");
}

TEST(endpoint, refuses_what_it_cannot_parse_and_quotes_it) {
  const std::string long_path(108, 'x');
  for (const std::string& text : {std::string(),
                                  std::string("127.0.0.1"),
                                  std::string("127.0.0.1:"),
                                  std::string("127.0.0.1:65536"),
                                  std::string("127.0.0.1:-1"),
                                  std::string("127.0.0.1:8x"),
                                  std::string("127.0.0.1: 80"),
                                  std::string("127.0.0:80"),
                                  std::string("localhost:80"),
                                  std::string(":80"),
                                  std::string("::1:80"),
                                  std::string("[::1]"),
                                  std::string("[::1]80"),
                                  std::string("[]:80"),
                                  std::string("[1.2.3.4]:80"),
                                  std::string("[::1%nosuchinterface]:80"),
                                  std::string("[::1%]:80"),
                                  std::string("unix:"),
                                  std::string("unix:@"),
                                  "unix:" + long_path,
                                  std::string("unix:a\0b", 8),
                                  std::string("127.0.0.1\0:80", 13),
                                  std::string("127.0.0.1:99999999999999999999")}) {
    try {
      endpoint::parse(text);
      FAIL() << '"' << text << "\" was parsed";
    } catch (const std::invalid_argument& e) {
      const bool printable = text.find('\0') == text.npos;
      EXPECT_TRUE(!printable || std::string(e.what()).find('"' + text + '"') != std::string::npos)
          << e.what();
      EXPECT_NE(std::string(e.what()).find("expected ADDRESS:PORT"), std::string::npos) << e.what();
    }
  }
  EXPECT_NO_THROW(endpoint::parse("unix:" + std::string(107, 'x')));
}

TEST(endpoint, is_ordered_by_family_address_and_port) {
  const auto e = [](const char* text) { return endpoint::parse(text); };
  EXPECT_LT(e("1.2.3.4:80"), e("1.2.3.4:443"));
  EXPECT_LT(e("1.2.3.4:443"), e("1.2.3.5:80"));
  EXPECT_LT(e("9.9.9.9:1"), e("10.0.0.0:1"));
  EXPECT_LT(e("9.9.9.9:1"), e("[::]:0"));
  EXPECT_LT(e("[::1]:9"), e("[::2]:1"));
  EXPECT_LT(e("[::2]:1"), e("unix:a"));
  EXPECT_LT(e("unix:a"), e("unix:b"));
  EXPECT_EQ(e("[::1]:9"), e("[0::1]:9"));
  EXPECT_NE(e("unix:@a"), e("unix:a"));
  const std::unordered_set<endpoint> set{e("1.2.3.4:1"), e("1.2.3.4:1"), e("1.2.3.4:2"),
                                         e("unix:a"), e("unix:a")};
  EXPECT_EQ(set.size(), 3U);
}

}  // namespace
}  // namespace coir
