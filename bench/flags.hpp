// The command line of a program: words, `--name value` and `--name`.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct flag {
  std::string_view name;
  std::string_view value;  // what it takes, for the help; empty: nothing
  std::string_view help;
};

class flags {
 public:
  // Prints what is wrong, or the help if --help is there, and ends the program.
  flags(int argc, char** argv, std::string_view usage, std::vector<flag> known);

  bool has(std::string_view name) const { return given_.contains(name); }
  std::string text(std::string_view name, std::string_view otherwise = {}) const;
  std::uint64_t number(std::string_view name, std::uint64_t otherwise) const;
  const std::vector<std::string>& words() const noexcept { return words_; }

  [[noreturn]] void refuse(const std::string& what) const;

 private:
  void print_help() const;
  const flag* find(std::string_view name) const noexcept;

  std::string program_;
  std::string_view usage_;
  std::vector<flag> known_;
  std::map<std::string, std::string, std::less<>> given_;
  std::vector<std::string> words_;
};

}  // namespace bench
