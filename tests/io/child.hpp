// A program of somebody else's, spoken to through pipes from a fiber.
#pragma once
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {

inline bool is_installed(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

// What it writes to both its outputs is one text. The destructor ends it.
class child {
 public:
  explicit child(const std::vector<std::string>& arguments) {
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) std::abort();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, out[1], 2);
    std::vector<char*> words;
    for (const std::string& a : arguments) words.push_back(const_cast<char*>(a.c_str()));
    words.push_back(nullptr);
    if (::posix_spawnp(&pid_, words[0], &actions, nullptr, words.data(), environ) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
    ::fcntl(out_, F_SETFL, O_NONBLOCK);
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    end_input();
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(out_);
  }

  void say(std::string_view text) {
    EXPECT_EQ(::write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void end_input() {
    if (in_ >= 0) ::close(in_);
    in_ = -1;
  }

  // Until what it has said contains the text; it is kept, and looked through only once.
  void hears(std::string_view text) {
    std::size_t at = 0;
    while ((at = said_.find(text, heard_)) == said_.npos)
      if (!more()) {
        ADD_FAILURE() << "no \"" << text << "\" in what it said: " << said_;
        return;
      }
    heard_ = at + text.size();
  }
  // All that it says, and its status when it has ended.
  int ends() {
    while (more()) {}
    int status = -1;
    if (pid_ > 0) offload([&] { ::waitpid(pid_, &status, 0); });
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  const std::string& said() const { return said_; }

 private:
  bool more() {
    with_timeout(sanitized ? 60s : 30s, [&] { wait_readable(out_); });
    char buffer[65536];
    const ssize_t n = ::read(out_, buffer, sizeof buffer);
    // A writer may tell of what has been read already: a poll by the ring believes it.
    if (n < 0) return errno == EAGAIN;
    said_.append(buffer, static_cast<std::size_t>(n));
    return n > 0;
  }

  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  std::string said_;
  std::size_t heard_ = 0;
};

}  // namespace coir::testing
