// reader: what it cuts out of a stream, whatever the pieces in which that comes, and what it keeps
// when a call fails.
#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <random>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

// Gives its pieces one by one, then its end or its error; asks no scheduler.
struct pieces {
  std::deque<std::string> left;
  std::error_code at_end;
  int calls = 0;

  std::size_t read_some(std::span<std::byte> into, std::error_code& error) {
    ++calls;
    error.clear();
    if (left.empty()) return error = at_end, 0;
    const std::size_t n = std::min(into.size(), left.front().size());
    std::copy_n(reinterpret_cast<const std::byte*>(left.front().data()), n, into.begin());
    left.front().erase(0, n);
    if (left.front().empty()) left.pop_front();
    return n;
  }
};
pieces one_by_one(std::string_view text) {
  pieces p;
  for (const char c : text) p.left.emplace_back(1, c);
  return p;
}

template <class F>
bool over_limit(F&& f, std::size_t limit) {
  try {
    f();
  } catch (const limit_exceeded& e) {
    return e.limit() == limit;
  }
  return false;
}
template <class F>
std::pair<std::size_t, std::size_t> incomplete(F&& f) {
  try {
    f();
  } catch (const incomplete_read& e) {
    return {e.partial(), e.expected()};
  }
  return {};
}

using lines = std::vector<std::string>;
template <class S>
lines all_lines(reader<S>& r) {
  lines all;
  while (auto line = r.read_line()) all.push_back(*line);
  EXPECT_EQ(r.read_line(), std::nullopt) << "the end stays the end";
  return all;
}

TEST(reader, gives_lines_without_their_ends) {
  pieces p{{"one\ntwo\r\n\n\r\nlast"}, {}};
  reader r(p);
  EXPECT_EQ(all_lines(r), (lines{"one", "two", "", "", "last"}));
  pieces closed{{"one\n"}, {}};
  reader s(closed);
  EXPECT_EQ(all_lines(s), (lines{"one"}));
  pieces nothing;
  reader t(nothing);
  EXPECT_EQ(all_lines(t), lines{});
}

TEST(reader, keeps_a_carriage_return_that_ends_no_line) {
  pieces p{{"a\rb\r\r\nc\r"}, {}};
  reader r(p);
  EXPECT_EQ(all_lines(r), (lines{"a\rb\r", "c\r"}));
}

// F63: the separator is split over packets.
TEST(reader, cuts_the_same_wherever_the_pieces_are_cut) {
  const std::string text = "GET / HTTP/1.1\r\nHost: x\r\n\r\nab\n\n--end--rest";
  for (std::size_t i = 0; i <= text.size(); ++i) {
    for (std::size_t j = i; j <= text.size(); ++j) {
      pieces p;
      for (const auto& part : {text.substr(0, i), text.substr(i, j - i), text.substr(j)})
        if (!part.empty()) p.left.push_back(part);
      reader r(p);
      EXPECT_EQ(r.read_until({"\r\n\r\n", "\n\n"}), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      EXPECT_EQ(r.read_line(), "ab");
      EXPECT_EQ(r.read_until("--end--"), "\n--end--");
      EXPECT_EQ(r.read_all(), "rest");
    }
  }
}

TEST(reader, of_several_delimiters_takes_the_one_that_ends_first) {
  for (const bool whole : {true, false}) {
    pieces p = one_by_one("xabcb;--\r\nz");
    if (whole) p.left = {"xabcb;--\r\nz"};
    reader r(p);
    EXPECT_EQ(r.read_until({"abc", "b"}), "xab");  // "abc" begins first, and ends later
    EXPECT_EQ(r.read_until({"nowhere", ";--", "--"}), "cb;--");
    const std::vector<std::string_view> any{"\n", "\r"};
    EXPECT_EQ(r.read_until(std::span(any)), "\r");
    EXPECT_EQ(incomplete([&] { r.read_until(any); }).first, 0U) << "\n ends it";
    EXPECT_EQ(incomplete([&] { r.read_until("y"); }).first, 1U);
    EXPECT_EQ(r.read_all(), "z");
  }
}

TEST(reader, takes_a_delimiter_or_a_list_of_them_as_it_comes) {
  pieces p{{"a,b;c:d\ne.f"}, {}};
  reader r(p);
  std::error_code error;
  const std::vector<std::string> strings{",", ";"};
  const char* const pointers[] = {",", ";"};
  EXPECT_EQ(r.read_until(strings), "a,");
  EXPECT_EQ(r.read_until(pointers, error), "b;");
  EXPECT_EQ(r.read_until(std::array<std::string_view, 2>{"x", ":"}), "c:");
  EXPECT_EQ(r.read_until('\n'), "d\n");
  EXPECT_EQ(r.read_until('.', error), "e.");
  EXPECT_FALSE(error);
  EXPECT_THROW(r.read_until(std::vector<std::string>()), std::invalid_argument);
  EXPECT_EQ(r.read_until(std::string(1, '.'), error), "");
  EXPECT_EQ(error, stream_errc::incomplete_read);
  EXPECT_EQ(r.read_all(), "f");
}

TEST(reader, refuses_delimiters_that_are_none) {
  pieces p{{"abc"}, {}};
  reader r(p);
  std::error_code error;
  EXPECT_THROW(r.read_until(""), std::invalid_argument);
  EXPECT_THROW(r.read_until({"a", ""}, error), std::invalid_argument);
  EXPECT_THROW(r.read_until(std::span<const std::string_view>()), std::invalid_argument);
  EXPECT_EQ(r.read_all(), "abc");
}

TEST(reader, drops_a_line_over_the_limit_and_goes_on_behind_it) {
  for (const bool whole : {true, false}) {
    const std::string text = "12345678\n123456789\n12345678\r\n123456789\r\nnext\n123456789";
    pieces p = one_by_one(text);
    if (whole) p.left = {text};
    reader r(p, 8);
    EXPECT_EQ(r.limit(), 8U);
    EXPECT_EQ(r.read_line(), "12345678");
    EXPECT_TRUE(over_limit([&] { r.read_line(); }, 8));
    EXPECT_EQ(r.read_line(), "12345678");
    std::error_code error;
    EXPECT_EQ(r.read_line(error), std::nullopt);
    EXPECT_EQ(error, stream_errc::limit_exceeded);
    EXPECT_EQ(r.read_line(error), "next");
    EXPECT_FALSE(error);
    EXPECT_TRUE(over_limit([&] { r.read_line(); }, 8)) << "the last one, which has no end";
    EXPECT_EQ(r.read_line(), std::nullopt);
  }
}

// F63: who never sends the separator is found out without it, and costs no more than the limit.
TEST(reader, tells_of_a_line_over_the_limit_before_its_end_has_come) {
  using step = std::function<void(reader<pieces>&)>;
  const step behind_it[] = {
      [](auto& r) { EXPECT_EQ(r.read_line(), "next"); },
      [](auto& r) { EXPECT_EQ(r.read_until("t"), "next"); },
      [](auto& r) { EXPECT_EQ(r.read_exactly(4), "next"); },
      [](auto& r) { EXPECT_EQ(r.read(4), "next"); },
      [](auto& r) { EXPECT_EQ(r.read_all(), "next\n"); },
      [](auto& r) {
        char c[4];
        EXPECT_EQ(r.read_some(c), 4U);
        EXPECT_EQ(std::string_view(c, 4), "next");
      },
  };
  for (const step& s : behind_it) {
    pieces p{{std::string(50, 'x'), std::string(60, 'x'), "more of it", "its end\nnext\n"}, {}};
    reader r(p, 100);
    EXPECT_TRUE(over_limit([&] { r.read_line(); }, 100));
    EXPECT_EQ(p.calls, 2) << "it has waited for more than it needed to know";
    s(r);
  }
  pieces endless{std::deque<std::string>(1000, std::string(4096, 'x')), {}};
  reader r(endless);
  EXPECT_TRUE(over_limit([&] { r.read_line(); }, 64 * 1024));
  EXPECT_EQ(r.buffered(), 0U);
  EXPECT_EQ(r.read_all(), "") << "what follows belongs to that line";
}

TEST(reader, loses_nothing_when_a_delimiter_does_not_come_within_the_limit) {
  for (const bool whole : {true, false}) {
    pieces p = one_by_one("12345678;123456789;rest");
    if (whole) p.left = {"12345678;123456789;rest"};
    reader r(p, 8);
    EXPECT_EQ(r.read_until(";"), "12345678;");
    for (int again = 0; again < 2; ++again)
      EXPECT_TRUE(over_limit([&] { r.read_until({";", ";;"}); }, 8));
    std::error_code error;
    EXPECT_EQ(r.read_until(";", error), "");
    EXPECT_EQ(error, stream_errc::limit_exceeded);
    EXPECT_EQ(r.read_exactly(10), "123456789;");
    EXPECT_EQ(r.read_all(), "rest");
  }
}

TEST(reader, keeps_what_came_before_an_end_that_is_too_early) {
  pieces p{{"abc", "de"}, {}};
  reader r(p);
  EXPECT_EQ(incomplete([&] { r.read_exactly(8); }), std::pair(std::size_t{5}, std::size_t{8}));
  EXPECT_EQ(incomplete([&] { r.read_until("\n"); }), std::pair(std::size_t{5}, std::size_t{0}));
  std::error_code error;
  EXPECT_EQ(r.read_exactly(6, error), "");
  EXPECT_EQ(error, stream_errc::incomplete_read);
  EXPECT_EQ(r.buffered(), 5U);
  EXPECT_EQ(r.read_exactly(2), "ab");
  EXPECT_EQ(r.read_line(), "cde");
  EXPECT_EQ(incomplete([&] { r.read_exactly(1); }), std::pair(std::size_t{0}, std::size_t{1}));
  EXPECT_EQ(r.read_exactly(0), "");
}

TEST(reader, takes_no_memory_for_what_is_only_asked_for) {
  pieces p{{"abc"}, {}};
  reader r(p);
  EXPECT_EQ(incomplete([&] { r.read_exactly(std::numeric_limits<std::size_t>::max()); }).first, 3U);
  EXPECT_EQ(r.read(std::numeric_limits<std::size_t>::max()), "abc");
}

TEST(reader, reads_what_is_there_up_to_what_is_asked_for) {
  pieces p{{"abcdef", "gh"}, {}};
  reader r(p);
  EXPECT_EQ(r.read(0), "");
  EXPECT_EQ(p.calls, 0);
  EXPECT_EQ(r.read(2), "ab");
  EXPECT_EQ(r.buffered(), 4U);
  char c[3];
  EXPECT_EQ(r.read_some(std::span<char>()), 0U);
  EXPECT_EQ(r.read_some(c), 3U);
  EXPECT_EQ(std::string_view(c, 3), "cde");
  EXPECT_EQ(r.read(100), "f") << "it waits for no more than it needs";
  EXPECT_EQ(r.read(100), "gh");
  EXPECT_EQ(r.read(100), "");
  EXPECT_EQ(r.read_some(c), 0U);
}

TEST(reader, has_no_limit_but_for_lines_and_delimiters) {
  const std::string much(1'000'000, 'x');
  pieces p{{much, much, much}, {}};
  reader r(p, 8);
  EXPECT_EQ(r.read_exactly(1'500'000).size(), 1'500'000U);
  EXPECT_EQ(r.read_all().size(), 1'500'000U);
}

TEST(reader, keeps_what_came_before_an_error) {
  const auto reset = std::make_error_code(std::errc::connection_reset);
  pieces p{{"abc"}, reset};
  reader r(p);
  EXPECT_EQ(error_of([&] { r.read_all(); }), reset);
  EXPECT_EQ(error_of([&] { r.read_line(); }), reset);
  EXPECT_EQ(error_of([&] { r.read_until("d"); }), reset);
  EXPECT_EQ(error_of([&] { r.read_exactly(4); }), reset);
  EXPECT_EQ(r.read(8), "abc");
  EXPECT_EQ(error_of([&] { r.read(8); }), reset);
  char c[8];
  EXPECT_EQ(error_of([&] { (void)r.read_some(c); }), reset);
}

// It asks for as much as it has room for.
struct sizes {
  std::size_t gives = 0, asked = 0;
  std::size_t read_some(std::span<std::byte> into, std::error_code& error) {
    error.clear();
    asked = into.size();
    const std::size_t n = std::min(gives, asked);
    std::fill_n(into.begin(), n, std::byte{'\n'});
    return n;
  }
};

TEST(reader, keeps_memory_for_what_comes_and_little_for_what_is_quiet) {
  sizes s{1'000'000, 0};
  reader r(s);
  r.read(1);
  EXPECT_EQ(s.asked, 4096U);
  for (int i = 0; i < 6; ++i) r.read(r.buffered() + 1), r.read(r.buffered());
  EXPECT_GE(s.asked, 64 * 1024U);
  EXPECT_LE(s.asked, 128 * 1024U);
  s.gives = 10;
  for (int i = 0; i < 6; ++i) r.read(100);
  EXPECT_EQ(r.buffered(), 0U);
  EXPECT_LE(s.asked, 8192U) << "a quiet connection keeps the memory of a busy one";
}

TEST(reader, can_be_moved_with_what_it_has_buffered) {
  pieces p{{"one\ntwo\n", "three"}, {}};
  reader r(p);
  EXPECT_EQ(r.read_line(), "one");
  reader moved(std::move(r));
  EXPECT_EQ(all_lines(moved), (lines{"two", "three"}));
}

// The same text once whole and once in random pieces, through the same calls.
TEST(reader, random_calls_agree_with_a_model) {
  for (unsigned seed = 0; seed < 300U * scale(); ++seed) {
    std::mt19937 random(seed);
    std::string text;
    for (unsigned n = random() % 3000; n != 0; --n) text += "ab\r\n\n;"[random() % 6];
    pieces p;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t n = 1 + random() % (random() % 2 ? 4 : 600);
      p.left.push_back(text.substr(at, n));
      at += n;
    }
    reader r(p, 40);
    std::string_view left = text;
    while (!left.empty()) {
      if (random() % 3 == 0) {
        const std::size_t n = random() % 30;
        if (n <= left.size()) {
          ASSERT_EQ(r.read_exactly(n), left.substr(0, n)) << "seed " << seed;
          left.remove_prefix(n);
        }
      } else if (random() % 2 == 0) {
        const std::size_t end = std::min(left.find('\n'), left.size());
        std::string_view line = left.substr(0, end);
        if (end != left.size() && line.ends_with('\r')) line.remove_suffix(1);
        left.remove_prefix(std::min(end + 1, left.size()));
        if (line.size() <= 40)
          ASSERT_EQ(r.read_line(), line) << "seed " << seed;
        else
          ASSERT_TRUE(over_limit([&] { r.read_line(); }, 40)) << "seed " << seed;
      } else {
        std::size_t end = left.npos, begin = left.npos;
        for (const std::string_view d : {";\n", "a", "\r\n;"})
          if (const auto at = left.find(d); at != left.npos && at + d.size() < end)
            begin = at, end = at + d.size();
        std::error_code error;
        const std::string got = r.read_until({";\n", "a", "\r\n;"}, error);
        if (error == stream_errc::limit_exceeded) {
          ASSERT_GT(std::min(begin, left.size()), 40U) << "seed " << seed;
          begin = end = 0;
          ASSERT_EQ(r.read_exactly(1), left.substr(0, 1)) << "seed " << seed;
          left.remove_prefix(1);
        } else if (end == left.npos) {
          ASSERT_EQ(error, stream_errc::incomplete_read) << "seed " << seed;
          ASSERT_EQ(r.read_all(), left) << "seed " << seed;
          left = {};
        } else {
          ASSERT_FALSE(error) << "seed " << seed;
          ASSERT_EQ(got, left.substr(0, end)) << "seed " << seed;
          left.remove_prefix(end);
        }
      }
    }
    ASSERT_EQ(r.read_all(), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace coir::testing
