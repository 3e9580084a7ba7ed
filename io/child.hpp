// A child process that has been started: who it is, and how it ended, asked at most once.
//
// Always true: the pidfd names this child and no other, whoever has its number later; once `ended_`
// is there, nobody asks the kernel again.
#pragma once
#include <memory>
#include <mutex>
#include <optional>

#include <coir/io/process.hpp>

namespace coir::io {

// All members: any thread.
class child {
 public:
  child() = default;
  ~child();
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  // Once, before anybody else has it.
  void is(int pid, handle_type pidfd) noexcept {
    pid_ = pid;
    pidfd_ = pidfd;
  }

  int pid() const noexcept { return pid_; }
  handle_type pidfd() const noexcept { return pidfd_; }  // readable once it has ended

  // Reaps it if it has ended. Does not wait.
  std::optional<exit_status> collect() noexcept;
  // 0, or a negative errno: -ESRCH once it has ended, though nobody has reaped it.
  int kill(int signal) noexcept;

 private:
  std::optional<exit_status> collect_locked() noexcept;

  int pid_ = 0;
  handle_type pidfd_ = -1;
  std::mutex mutex_;                  // for the time of a system call that does not wait
  std::optional<exit_status> ended_;  // under mutex_
};

// Reaps it when it ends, on a thread that lives as long as there are such children: they outlive
// the runtime that started them.
void reap_in_background(std::shared_ptr<child>) noexcept;

}  // namespace coir::io
