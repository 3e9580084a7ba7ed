#include "resp.hpp"

#include <charconv>
#include <cstring>
#include <optional>

namespace kv {
namespace {

constexpr std::size_t longest_inline = 64 * 1024;
constexpr std::size_t longest_count = 32;  // a line that holds a number
constexpr std::int64_t most_words = 1024 * 1024;
constexpr std::size_t many_words = 4096;  // memory for more is given back

std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// One character of a quoted word, from behind a backslash; how many bytes it took.
std::size_t unescape(std::string_view rest, std::string& to) {
  if (rest.size() >= 3 && rest[0] == 'x' && hex_digit(rest[1]) >= 0 && hex_digit(rest[2]) >= 0) {
    to += static_cast<char>(hex_digit(rest[1]) * 16 + hex_digit(rest[2]));
    return 3;
  }
  constexpr std::string_view names = "nrtba", bytes = "\n\r\t\b\a";
  const std::size_t known = names.find(rest[0]);
  to += known == names.npos ? rest[0] : bytes[known];
  return 1;
}

// The word that begins with a quotation mark; how many bytes it took, 0: it does not end, or not
// with a space.
std::size_t unquote(std::string_view line, std::string& to) {
  const char mark = line[0];
  for (std::size_t i = 1; i < line.size();) {
    if (line[i] == mark) return i + 1 == line.size() || line[i + 1] == ' ' ? i + 1 : 0;
    const bool more = i + 1 < line.size();
    if (line[i] == '\\' && more && mark == '"') {
      i += 1 + unescape(line.substr(i + 1), to);
    } else if (line[i] == '\\' && more && line[i + 1] == '\'') {
      to += '\'';
      i += 2;
    } else {
      to += line[i++];
    }
  }
  return 0;
}

void put_number(std::string& to, char kind, std::int64_t n) {
  char line[32] = {kind};
  char* end = std::to_chars(line + 1, line + sizeof line, n).ptr;
  *end++ = '\r';
  *end++ = '\n';
  to.append(line, static_cast<std::size_t>(end - line));
}

}  // namespace

request_parser::result request_parser::parse(std::string_view input) {
  if (input.empty()) return result::incomplete;
  return input[0] == '*' ? parse_array(input) : parse_inline(input);
}

request_parser::result request_parser::done(std::size_t size) noexcept {
  size_ = size;
  at_ = scanned_ = 0;
  left_ = bulk_ = unknown;
  return words_.empty() ? result::empty : result::request;
}

// A line from at_ on, without its end, and at_ behind it. False: it has not come, or error_ is set.
bool request_parser::find_line(std::string_view input, std::size_t longest,
                               std::string_view& line) {
  const std::size_t from = std::max(at_, scanned_);
  const std::size_t end = input.find('\n', from);
  if (end == input.npos || end - at_ > longest) {
    scanned_ = input.size();
    if (std::min(end, input.size()) - at_ > longest) error_ = "a line is too long";
    return false;
  }
  line = input.substr(at_, end - at_);
  if (line.ends_with('\r')) line.remove_suffix(1);
  at_ = end + 1;
  scanned_ = 0;
  return true;
}

request_parser::result request_parser::parse_array(std::string_view input) {
  if (left_ == unknown) {
    std::string_view line;
    if (!find_line(input, longest_count, line)) return *error_ ? result::bad : result::incomplete;
    const auto words = number(line.substr(1));
    if (!words || *words < 0 || *words > most_words) return fail("bad number of words");
    left_ = *words;
    if (ranges_.capacity() > many_words) ranges_ = {}, words_ = {};  // of one that was huge
    ranges_.clear();
  }
  while (left_ > 0)
    if (const result r = parse_word(input); r != result::request) return r;
  words_.resize(ranges_.size());
  for (std::size_t i = 0; i < ranges_.size(); ++i)
    words_[i] = input.substr(ranges_[i].offset, ranges_[i].size);
  encoded_ = input.substr(0, at_);
  return done(at_);
}

request_parser::result request_parser::parse_word(std::string_view input) {
  if (bulk_ == unknown) {
    std::string_view line;
    if (!find_line(input, longest_count, line)) return *error_ ? result::bad : result::incomplete;
    if (line.empty() || line[0] != '$') return fail("a word does not begin with '$'");
    const auto size = number(line.substr(1));
    if (!size || *size < 0) return fail("bad length of a word");
    if (at_ + static_cast<std::uint64_t>(*size) > max_size_) return fail("the request is too big");
    bulk_ = *size;
  }
  const auto size = static_cast<std::size_t>(bulk_);
  if (input.size() - at_ < size + 2) return result::incomplete;
  if (input[at_ + size] != '\r' || input[at_ + size + 1] != '\n')
    return fail("a word does not end where its length says");
  ranges_.push_back({at_, size});
  at_ += size + 2;
  bulk_ = unknown;
  --left_;
  return result::request;
}

request_parser::result request_parser::parse_inline(std::string_view input) {
  std::string_view line;
  if (!find_line(input, longest_inline, line)) return *error_ ? result::bad : result::incomplete;
  if (!split(line)) return fail("a quoted word does not end");
  encoded_ = {};
  return done(at_);
}

bool request_parser::split(std::string_view line) {
  unquoted_.clear();
  while (!line.empty()) {
    if (line[0] == ' ') {
      line.remove_prefix(1);
      continue;
    }
    std::string& word = unquoted_.emplace_back();
    std::size_t taken = std::min(line.find(' '), line.size());
    if (line[0] == '"' || line[0] == '\'')
      taken = unquote(line, word);
    else
      word = line.substr(0, taken);
    if (taken == 0) return false;
    line.remove_prefix(taken);
  }
  words_.assign(unquoted_.begin(), unquoted_.end());
  return true;
}

void put_simple(std::string& to, std::string_view text) { ((to += '+') += text) += "\r\n"; }
void put_error(std::string& to, std::string_view text) { ((to += '-') += text) += "\r\n"; }
void put_integer(std::string& to, std::int64_t n) { put_number(to, ':', n); }
void put_bulk(std::string& to, std::string_view bytes) {
  put_number(to, '$', static_cast<std::int64_t>(bytes.size()));
  (to += bytes) += "\r\n";
}
void put_null(std::string& to) { to += "$-1\r\n"; }
void put_null_array(std::string& to) { to += "*-1\r\n"; }
void put_array(std::string& to, std::size_t elements) {
  put_number(to, '*', static_cast<std::int64_t>(elements));
}

void put_request(std::string& to, std::span<const std::string_view> words) {
  put_array(to, words.size());
  for (const std::string_view w : words) put_bulk(to, w);
}

}  // namespace kv
