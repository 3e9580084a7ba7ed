// How a child process is started.
#pragma once
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <coir/io/stream.hpp>

namespace coir {

enum class stdio : unsigned char {
  inherit,    // the parent's
  pipe,       // process::stdin_(), stdout_(), stderr_() is the other end
  null,       // /dev/null
  to_stdout,  // of err: where out goes
};

// One of these, or a descriptor, which stays the caller's; the child finds it blocking, whatever it
// is here (of a socket, that is the same flag).
class stdio_choice {
 public:
  constexpr stdio_choice(stdio s = stdio::inherit) noexcept : what_(s) {}
  constexpr stdio_choice(handle_type fd) noexcept : handle_(fd) {}

  constexpr stdio what() const noexcept { return what_; }  // inherit, if it is a descriptor
  constexpr std::optional<handle_type> handle() const noexcept { return handle_; }
  friend constexpr bool operator==(const stdio_choice&, const stdio_choice&) = default;

 private:
  stdio what_ = stdio::inherit;
  std::optional<handle_type> handle_;
};

// The child's environment: default-constructed it is the parent's, else it has these variables and
// no others: environment{{"HOME", "/"}, {"LANG", "C"}}, or "NAME=value" each, or a map. The
// parent's with changes: auto all = environment::of_this_process(); all["LANG"] = "C".
class environment {
 public:
  // "NAME=value".
  struct variable {
    variable(const char* assignment) : text(assignment) {}
    variable(std::string assignment) : text(std::move(assignment)) {}
    variable(std::string_view name, std::string_view value)
        : text(std::string(name).append("=").append(value)) {}
    std::string text;
  };

  environment() = default;
  environment(std::initializer_list<variable> all) : given_(true) {
    for (const variable& v : all) variables_.push_back(v.text);
  }
  environment(std::vector<std::string> assignments)
      : given_(true), variables_(std::move(assignments)) {}
  environment(const std::map<std::string, std::string>& all) : given_(true) {
    for (const auto& [name, value] : all) variables_.push_back(variable(name, value).text);
  }

  static environment empty() { return environment(std::vector<std::string>{}); }
  static std::map<std::string, std::string> of_this_process();

  bool is_inherited() const noexcept { return !given_; }
  const std::vector<std::string>& variables() const noexcept { return variables_; }

 private:
  bool given_ = false;
  std::vector<std::string> variables_;
};

// How a child is started: its standard streams, environment, folder, user and other handles.
struct process_options {
  stdio_choice in = {}, out = {}, err = {};
  environment env = {};
  std::string cwd = {};  // empty: the parent's; argv[0] with a slash is found from it
  std::vector<handle_type> handles = {};  // reach the child under their numbers; no other one does
  bool new_session = false;               // setsid(2): signals of the terminal do not reach it
  // With either, supplementary groups are given up, if that is allowed.
  std::optional<unsigned> uid = {}, gid = {};
  bool kill_on_destroy = true;  // false: ~process leaves it running, and it is reaped when it ends
};

}  // namespace coir
