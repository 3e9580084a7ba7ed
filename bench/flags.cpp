#include "flags.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace bench {

flags::flags(int argc, char** argv, std::string_view usage, std::vector<flag> known)
    : program_(argv[0]), usage_(usage), known_(std::move(known)) {
  program_.erase(0, program_.find_last_of('/') + 1);
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--help") {
      print_help();
      std::exit(0);
    }
    if (!word.starts_with("--")) {
      words_.emplace_back(word);
      continue;
    }
    const flag* f = find(word.substr(2));
    if (f == nullptr) refuse("there is no " + std::string(word));
    if (!f->value.empty() && ++i == argc)
      refuse(std::string(word) + " takes " + std::string(f->value));
    given_.insert_or_assign(std::string(f->name), f->value.empty() ? "" : argv[i]);
  }
}

std::string flags::text(std::string_view name, std::string_view otherwise) const {
  const auto it = given_.find(name);
  return it == given_.end() ? std::string(otherwise) : it->second;
}

std::uint64_t flags::number(std::string_view name, std::uint64_t otherwise) const {
  const auto it = given_.find(name);
  if (it == given_.end()) return otherwise;
  std::uint64_t value = 0;
  const char* const end = it->second.data() + it->second.size();
  const auto parsed = std::from_chars(it->second.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end)
    refuse("--" + it->first + " takes a whole number, not '" + it->second + "'");
  return value;
}

const flag* flags::find(std::string_view name) const noexcept {
  for (const flag& f : known_)
    if (f.name == name) return &f;
  return nullptr;
}

void flags::refuse(const std::string& what) const {
  std::cerr << program_ << ": " << what << "; --help lists what there is\n";
  std::exit(2);
}

void flags::print_help() const {
  std::cout << "usage: " << program_ << ' ' << usage_ << '\n';
  for (const flag& f : known_) {
    std::string left = "  --" + std::string(f.name) + ' ' + std::string(f.value);
    left.resize(left.size() < 24 ? 24 : left.size() + 1, ' ');
    std::cout << left << f.help << '\n';
  }
}

}  // namespace bench
