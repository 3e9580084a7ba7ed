#include "command_line.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <optional>
#include <stdexcept>

namespace examples {
namespace {

template <class T>
T number(std::string_view text, const char* what, T most) {
  T n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n == 0 || n > most)
    throw std::invalid_argument("takes " + std::string(what) + ", not \"" + std::string(text) +
                                "\"");
  return n;
}

constexpr unsigned longest_time = 1'000'000'000;

}  // namespace

void parse(std::string_view text, coir::endpoint& into) { into = coir::endpoint::parse(text); }
void parse(std::string_view text, unsigned& into) { into = number(text, "a number from 1", ~0U); }
void parse(std::string_view text, std::uint64_t& into) {
  into = number(text, "a number from 1", ~std::uint64_t{0});
}
void parse(std::string_view text, std::chrono::seconds& into) {
  into = std::chrono::seconds(number(text, "a number of seconds from 1", longest_time));
}
void parse(std::string_view text, std::chrono::milliseconds& into) {
  into = std::chrono::milliseconds(number(text, "a number of milliseconds from 1", longest_time));
}
void parse(std::string_view text, std::string& into) {
  if (text.empty()) throw std::invalid_argument("takes a value that is not empty");
  into = text;
}
void parse(std::string_view text, std::filesystem::path& into) {
  if (text.empty()) throw std::invalid_argument("takes a path, not \"\"");
  into = text;
}

command_line::command_line(std::string program, std::string purpose)
    : program_(std::move(program)), purpose_(std::move(purpose)) {}

void command_line::take(item& i, std::string_view text) {
  try {
    i.take(text);
  } catch (const std::invalid_argument& e) {
    // Some errors are sentences about the option, others are whole in themselves.
    const std::string what = e.what();
    throw std::invalid_argument(i.name + (what.starts_with("takes ") ? " " : ": ") + what);
  }
  i.given = true;
}

void command_line::read(const std::vector<std::string_view>& words) {
  std::size_t place = 0;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string_view word = words[at];
    if (!word.starts_with("--")) {
      if (place == arguments_.size())
        throw std::invalid_argument("\"" + std::string(word) + "\" belongs to no option");
      take(arguments_[place++], word);
      continue;
    }
    const auto found =
        std::find_if(options_.begin(), options_.end(), [&](item& i) { return i.name == word; });
    if (found == options_.end())
      throw std::invalid_argument("there is no option " + std::string(word));
    if (++at == words.size()) throw std::invalid_argument(std::string(word) + " takes a value");
    take(*found, words[at]);
  }
  check_needed();
  check_();
}

void command_line::check_needed() const {
  std::string names;
  std::size_t count = 0;
  bool missing = false;
  for (const auto* list : {&arguments_, &options_})
    for (const item& i : *list) {
      if (!i.needed) continue;
      names += (count++ == 0 ? "" : " and ") + i.name;
      missing |= !i.given;
    }
  if (missing) throw std::invalid_argument(names + (count == 1 ? " is needed" : " are needed"));
}

std::string command_line::usage() const {
  std::string line = "usage: " + program_;
  for (const item& i : arguments_) line += " " + i.name;
  for (const item& i : options_) {
    const std::string one = i.name + " " + i.value;
    line += i.needed ? " " + one : " [" + one + "]";
  }
  return line + " [--help]\n";
}

std::string command_line::help() const {
  std::size_t width = 0;
  for (const item& i : options_) width = std::max(width, i.name.size() + 1 + i.value.size());
  std::string text = program_ + " " + purpose_ + "\n" + usage();
  for (const item& i : options_) {
    std::string one = i.name + " " + i.value;
    one.resize(width, ' ');
    text += "  " + one + "  " + i.help + "\n";
  }
  return text;
}

int command_line::run(int argc, char** argv, const std::function<void()>& main) {
  option("--workers", "N", "threads that run fibers; without it one for each processor", workers_);
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (std::find(words.begin(), words.end(), "--help") != words.end()) {
    std::fputs(help().c_str(), stdout);
    return 0;
  }
  std::optional<coir::options> options;
  try {
    read(words);
    options = coir::options::from_environment();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n%s", program_.c_str(), e.what(), usage().c_str());
    return 2;
  }
  if (workers_ != 0) options->workers = workers_;
  try {
    coir::run(*options, main);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", program_.c_str(), e.what());
    return 1;
  }
}

}  // namespace examples
