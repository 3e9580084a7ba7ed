// The command lines of the examples: options with values, checked, with a usage that is made of
// them.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <coir/coir.hpp>

namespace examples {

// What an option's text becomes. They throw std::invalid_argument that quotes the text and says
// what is expected.
void parse(std::string_view text, coir::endpoint&);
void parse(std::string_view text, unsigned&);       // from 1
void parse(std::string_view text, std::uint64_t&);  // from 1
void parse(std::string_view text, std::chrono::seconds&);
void parse(std::string_view text, std::chrono::milliseconds&);
void parse(std::string_view text, std::string&);
void parse(std::string_view text, std::filesystem::path&);

template <class T>
void parse(std::string_view text, std::vector<T>& into) {  // an option that may be repeated
  T one;
  parse(text, one);
  into.push_back(std::move(one));
}

// A program's options; --workers and --help are among them unasked. What it gives no option for,
// the environment chooses (COIR_REACTOR and its like).
//   examples::command_line line("echo_server", "sends back whatever it receives");
//   line.option("--listen", "ADDRESS:PORT", "where clients connect", listen);
//   return line.run(argc, argv, [&] { serve(listen); });
class command_line {
 public:
  command_line(std::string program, std::string purpose);

  // `into` keeps its value unless the option is given.
  template <class T>
  void option(std::string name, std::string value, std::string help, T& into) {
    options_.push_back({std::move(name), std::move(value), std::move(help), false, false,
                        [&into](std::string_view text) { parse(text, into); }});
  }
  // The same for one without which nothing can be done.
  template <class T>
  void needed(std::string name, std::string value, std::string help, T& into) {
    option(std::move(name), std::move(value), std::move(help), into);
    options_.back().needed = true;
  }
  // The next of the words that belong to no option; each has to be there.
  template <class T>
  void argument(std::string name, T& into) {
    arguments_.push_back({std::move(name), {}, {}, true, false, [&into](std::string_view text) {
                            parse(text, into);
                          }});
  }

  // Called when all is read, for what options mean together; throws std::invalid_argument.
  void check(std::function<void()> f) { check_ = std::move(f); }

  // The exit status: that of `main`, which runs as the first fiber; 1 if an error left it; 2 for a
  // command line that makes no sense. Both kinds of errors are said on stderr.
  int run(int argc, char** argv, const std::function<void()>& main);

 private:
  struct item {
    std::string name, value, help;
    bool needed, given;
    std::function<void(std::string_view)> take;
  };
  void read(const std::vector<std::string_view>& words);
  void take(item&, std::string_view text);
  void check_needed() const;
  std::string usage() const;
  std::string help() const;

  const std::string program_, purpose_;
  unsigned workers_ = 0;  // 0: what the environment says, or one for each processor
  std::vector<item> options_, arguments_;
  std::function<void()> check_ = [] {};
};

}  // namespace examples
