// Redis's patterns.
#include "command.hpp"

namespace kv {
namespace {

// One element of the pattern against one character; the element's size, 0: it does not match.
std::size_t match_set(std::string_view pattern, char c) {
  std::size_t i = 1;
  const bool not_these = i < pattern.size() && pattern[i] == '^';
  bool found = false;
  for (i += not_these; i < pattern.size() && pattern[i] != ']'; ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
    auto low = static_cast<unsigned char>(pattern[i]), high = low;
    if (i + 2 < pattern.size() && pattern[i + 1] == '-') {
      high = static_cast<unsigned char>(pattern[i + 2]);
      i += 2;
    }
    if (low > high) std::swap(low, high);
    found |= static_cast<unsigned char>(c) >= low && static_cast<unsigned char>(c) <= high;
  }
  return found != not_these ? std::min(i + 1, pattern.size()) : 0;
}

std::size_t match_one(std::string_view pattern, char c) {
  if (pattern.empty()) return 0;
  if (pattern[0] == '?') return 1;
  if (pattern[0] == '[') return match_set(pattern, c);
  if (pattern[0] == '\\' && pattern.size() > 1) return pattern[1] == c ? 2 : 0;
  return pattern[0] == c ? 1 : 0;
}

}  // namespace

// Only the last star is ever tried again: what an earlier one could gain, the last one can as well.
// So the time is bounded by the product of the sizes.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = pattern.npos, from = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = t;
    } else if (const std::size_t n = match_one(pattern.substr(p), text[t]); n != 0) {
      p += n;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace kv
