#include "child.hpp"

#include <cerrno>

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "system_calls.hpp"

namespace coir::io {
namespace {

#ifndef __NR_pidfd_send_signal
constexpr long number_of_pidfd_send_signal = 424;  // Linux 5.1
#else
constexpr long number_of_pidfd_send_signal = __NR_pidfd_send_signal;
#endif
constexpr auto by_pidfd = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4

[[gnu::noinline]] int wait_now(int pidfd, siginfo_t& how) noexcept {
  how.si_pid = 0;
  return ::waitid(by_pidfd, static_cast<id_t>(pidfd), &how, WEXITED | WNOHANG) < 0 ? -errno : 0;
}

[[gnu::noinline]] int send(int pidfd, int signal) noexcept {
  return ::syscall(number_of_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0 ? -errno : 0;
}

}  // namespace

child::~child() {
  if (pidfd_ >= 0) sys::close(pidfd_);
}

std::optional<exit_status> child::collect_locked() noexcept {
  if (ended_.has_value()) return ended_;
  siginfo_t how{};
  const int result = wait_now(pidfd_, how);
  if (result == -ECHILD)
    ended_.emplace();  // reaped by others, or by the system, because SIGCHLD is ignored
  else if (result == 0 && how.si_pid != 0)
    ended_ = how.si_code == CLD_EXITED ? exit_status::exited(how.si_status)
                                       : exit_status::killed(how.si_status);
  return ended_;
}

std::optional<exit_status> child::collect() noexcept {
  const std::lock_guard held(mutex_);
  return collect_locked();
}

int child::kill(int signal) noexcept {
  const std::lock_guard held(mutex_);
  return collect_locked().has_value() ? -ESRCH : send(pidfd_, signal);
}

}  // namespace coir::io
