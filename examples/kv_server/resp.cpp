#include "resp.hpp"

#include <charconv>
#include <cstring>

namespace kv {
namespace {

constexpr std::size_t longest_inline = 64 * 1024;
constexpr std::int64_t most_words = 1024 * 1024;
constexpr std::size_t many_words = 4096;  // memory for more is given back

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
  begun_ = !input.empty();
  if (!begun_) return result::incomplete;
  return input[0] == '*' ? parse_array(input) : parse_inline(input);
}

request_parser::result request_parser::done(std::size_t size) noexcept {
  size_ = size;
  at_ = scanned_ = 0;
  begun_ = false;
  left_ = bulk_ = unknown;
  return words_.empty() ? result::empty : result::request;
}

// A line that is a character and a number, from at_ on; it is short, so half of it is looked at
// again.
request_parser::result request_parser::parse_count(std::string_view input, std::int64_t& to) {
  constexpr std::size_t most_digits = 18;  // which fit
  std::size_t i = at_ + 1;
  std::int64_t n = 0;
  for (; i < input.size() && input[i] >= '0' && input[i] <= '9'; ++i) {
    if (i - at_ > most_digits) return result::bad;
    n = 10 * n + (input[i] - '0');
  }
  const bool digits = i > at_ + 1;
  if (i < input.size() && input[i] == '\r' && digits) ++i;
  if (i == input.size()) return result::incomplete;
  if (input[i] != '\n' || !digits) return result::bad;
  to = n;
  at_ = i + 1;
  return result::request;
}

request_parser::result request_parser::parse_array(std::string_view input) {
  if (left_ == unknown) {
    const result r = parse_count(input, left_);
    if (r == result::bad || left_ > most_words) return fail("bad number of words");
    if (r != result::request) return r;
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
    if (at_ == input.size()) return result::incomplete;
    if (input[at_] != '$') return fail("a word does not begin with '$'");
    const result r = parse_count(input, bulk_);
    if (r == result::bad) return fail("bad length of a word");
    if (r != result::request) return r;
    if (at_ + static_cast<std::uint64_t>(bulk_) > max_size_) return fail("the request is too big");
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
  const std::size_t end = input.find('\n', scanned_);
  scanned_ = input.size();
  if (std::min(end, input.size()) > longest_inline) return fail("a line is too long");
  if (end == input.npos) return result::incomplete;
  std::string_view line = input.substr(0, end);
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!split(line)) return fail("a quoted word does not end");
  encoded_ = {};
  return done(end + 1);
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
