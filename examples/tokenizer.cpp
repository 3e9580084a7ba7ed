// A push parser without a state machine: input arrives in pieces of any size, and the tokenizer is
// written as a loop that asks for the next character. Where it has none it yields.
//   tokenizer
#include <cctype>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <coir/coir.hpp>

namespace {

// Takes a piece of text, gives the tokens that it completes.
using tokenizer = coir::coroutine<std::vector<std::string>(std::string_view)>;

// The characters of all pieces, one after another; 0 at the end, which is an empty piece.
class characters {
 public:
  characters(tokenizer::yield_type& yield, std::string_view first) : yield_(yield), piece_(first) {}

  char next() {
    while (!ended_ && piece_.empty()) {
      piece_ = yield_(std::exchange(found, {}));
      ended_ = piece_.empty();
    }
    if (ended_) return 0;
    const char c = piece_.front();
    piece_.remove_prefix(1);
    return c;
  }
  std::vector<std::string> found;

 private:
  tokenizer::yield_type& yield_;
  std::string_view piece_;
  bool ended_ = false;
};

std::vector<std::string> tokenize(tokenizer::yield_type& yield, std::string_view first) {
  characters in(yield, first);
  char c = in.next();
  while (c != 0) {
    std::string token;
    if (c == '"') {
      for (c = in.next(); c != '"' && c != 0; c = in.next()) token += c;
      c = in.next();
    } else if (std::isalnum(static_cast<unsigned char>(c))) {
      for (; std::isalnum(static_cast<unsigned char>(c)); c = in.next()) token += c;
    } else {
      token = c;
      c = in.next();
      if (token == " ") continue;
    }
    in.found.push_back(std::move(token));
  }
  return std::move(in.found);
}

}  // namespace

int main() {
  tokenizer t(tokenize);
  for (const std::string_view piece : {"let wid", "th = 4", "2 + \"two", " words\"", ";", ""}) {
    const std::vector<std::string> tokens = t.resume(piece).value();
    std::cout << '[' << piece << "] gives";
    for (const std::string& token : tokens) std::cout << " <" << token << '>';
    std::cout << '\n';
  }
}
