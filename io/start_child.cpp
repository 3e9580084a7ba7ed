#include "start_child.hpp"

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string_view>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coir/fiber/under_sanitizers.hpp>
#include <coir/sched/signals_blocked.hpp>

#include "system_calls.hpp"

namespace coir::io {
namespace {

#ifndef __NR_close_range
constexpr long number_of_close_range = 436;  // Linux 5.9
#else
constexpr long number_of_close_range = __NR_close_range;
#endif
constexpr unsigned only_mark = 4;       // CLOSE_RANGE_CLOEXEC, Linux 5.11
constexpr int with_pidfd = 0x00001000;  // CLONE_PIDFD, Linux 5.2
constexpr auto by_pidfd = static_cast<idtype_t>(3);

// --- the child: between clone and exec, in the parent's memory. System calls only, and raw ones:
// what a sanitizer hangs on the library's functions would note them for the parent. ---

template <class... A>
long raw(long number, A... arguments) noexcept {
  const long result = ::syscall(number, arguments...);
  return result < 0 ? -errno : result;
}

// As the kernel declares it on each architecture: the handler first, and nothing of the rest set.
struct raw_action {
  void (*handler)(int);
  unsigned long rest[7];
};

// A handler of the parent's must not run here. The memory is shared, the table of handlers is not.
void reset_signals() noexcept {
  constexpr std::size_t set_size = 8;
  for (int s = 1; s <= 64; ++s) {
    raw_action now{};
    const raw_action usual{};
    if (raw(__NR_rt_sigaction, s, nullptr, &now, set_size) < 0) continue;
    const bool ignored = now.handler == SIG_IGN && s != SIGPIPE && s != SIGXFSZ;
    if (now.handler != SIG_DFL && !ignored) raw(__NR_rt_sigaction, s, &usual, nullptr, set_size);
  }
}

void unblock_signals() noexcept {
  const std::uint64_t none = 0;
  raw(__NR_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
}

// First out of the way of each other, then in place.
long place_standard_streams(const child_plan& plan) noexcept {
  long aside[3] = {-1, -1, -1};
  for (int i = 0; i < 3; ++i) {
    if (plan.standard[i] < 0) continue;
    aside[i] = raw(__NR_fcntl, plan.standard[i], F_DUPFD_CLOEXEC, 3);
    if (aside[i] < 0) return aside[i];
  }
  for (int i = 0; i < 3; ++i) {
    if (aside[i] < 0)
      raw(__NR_fcntl, i, F_SETFD, 0);
    else if (const long result = raw(__NR_dup3, aside[i], i, 0); result < 0)
      return result;
  }
  return plan.options.err == stdio::to_stdout ? raw(__NR_dup3, 1, 2, 0) : 0;
}

long keep_no_descriptors() noexcept {
  if (raw(number_of_close_range, 3u, ~0u, only_mark) == 0) return 0;
  rlimit most{};
  raw(__NR_prlimit64, 0, RLIMIT_NOFILE, nullptr, &most);
  for (rlim_t fd = 3; fd < most.rlim_cur; ++fd)
    raw(__NR_fcntl, static_cast<int>(fd), F_SETFD, FD_CLOEXEC);
  return 0;
}

long keep_handles(const process_options& o) noexcept {
  for (const handle_type fd : o.handles)
    if (const long result = raw(__NR_fcntl, fd, F_SETFD, 0); result < 0) return result;
  return 0;
}

long change_user(const process_options& o) noexcept {
  if (!o.uid.has_value() && !o.gid.has_value()) return 0;
  // Who may not give groups up may not gain by keeping them either.
  long result = raw(__NR_setgroups, 0, nullptr);
  if (result < 0 && result != -EPERM) return result;
  result = o.gid.has_value() ? raw(__NR_setresgid, *o.gid, *o.gid, *o.gid) : 0;
  if (result < 0 || !o.uid.has_value()) return result;
  return raw(__NR_setresuid, *o.uid, *o.uid, *o.uid);
}

// A place that cannot be searched does not hide the program that stands in a later one.
long execute(const child_plan& plan) noexcept {
  long error = -ENOENT;
  for (const std::string& program : plan.programs) {
    const long result =
        raw(__NR_execve, program.c_str(), plan.arguments.data(), plan.variables.data());
    if (result == -EACCES)
      error = result;
    else if (result != -ENOENT && result != -ENOTDIR)
      return result;
  }
  return error;
}

int child_main(void* given) noexcept {
  child_plan& plan = *static_cast<child_plan*>(given);
  const process_options& o = plan.options;
  reset_signals();
  const auto done = [&plan](const char* step, long result) noexcept {
    if (result >= 0) return true;
    plan.error = static_cast<int>(-result);
    plan.step = step;
    return false;
  };
  if (done("setsid", o.new_session ? raw(__NR_setsid) : 0) &&
      done("standard streams", place_standard_streams(plan)) &&
      done("chdir", o.cwd.empty() ? 0 : raw(__NR_chdir, o.cwd.c_str())) &&
      done("close_range", keep_no_descriptors()) && done("handles", keep_handles(o)) &&
      done("user and group", change_user(o))) {
    unblock_signals();
    done("exec", execute(plan));
  }
  raw(__NR_exit_group, 127);
  return 127;
}

// --- the parent ---

void refuse_nul(const std::string& text) {
  if (text.find('\0') != std::string::npos)
    throw std::invalid_argument("coir: a NUL in an argument of a process");
}

std::string search_path(const environment& env) {
  constexpr std::string_view name = "PATH=";
  for (const std::string& v : env.variables())
    if (v.starts_with(name)) return v.substr(name.size());
  const char* const own = std::getenv("PATH");
  return own != nullptr ? own : "/usr/local/bin:/usr/bin:/bin";
}

std::vector<std::string> places_of(const std::string& program, const environment& env) {
  if (program.empty() || program.find('/') != std::string::npos) return {program};
  std::vector<std::string> places;
  const std::string path = search_path(env);
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = path.substr(at, end - at);
    places.push_back((folder.empty() ? "." : folder) + "/" + program);
    at = end + 1;
  }
  return places;
}

constexpr std::size_t stack_size = 64 * 1024;

// ThreadSanitizer takes clone for fork and stumbles over the memory that is shared; the same
// function by its other name it leaves alone.
extern "C" [[gnu::weak]] int __clone(int (*)(void*), void*, int, void*, ...);
using clone_function = int (*)(int (*)(void*), void*, int, void*, ...);

}  // namespace

child_plan::child_plan(const std::vector<std::string>& argv, const process_options& o)
    : options(o) {
  if (argv.empty()) throw std::invalid_argument("coir: a process without argv");
  if (o.in == stdio::to_stdout || o.out == stdio::to_stdout)
    throw std::invalid_argument("coir: stdio::to_stdout is for err");
  refuse_nul(o.cwd);
  programs = places_of(argv.front(), o.env);
  for (const std::string& a : argv) {
    refuse_nul(a);
    arguments.push_back(a.c_str());
  }
  arguments.push_back(nullptr);
  if (o.env.is_inherited()) {
    for (char** v = ::environ; v != nullptr && *v != nullptr; ++v) texts_.push_back(*v);
  } else {
    for (const std::string& v : o.env.variables()) refuse_nul(v);
  }
  for (const std::string& v : o.env.is_inherited() ? texts_ : o.env.variables())
    variables.push_back(v.c_str());
  variables.push_back(nullptr);
}

// As vfork(2): the memory is shared and this thread stands still until the child has left it, so
// that starting one costs the same however large the parent is, and its failure can be read.
[[gnu::noinline]] started_child start_child(child_plan& plan) noexcept {
  const std::unique_ptr<std::byte[]> stack(new (std::nothrow) std::byte[stack_size]);
  if (stack == nullptr) return {-ENOMEM, -1};
  started_child made;
  {
    const sched::signals_blocked until_it_runs;
    const clone_function clone_it = fiber::sanitizers::thread ? &__clone : &::clone;
    made.pid = clone_it(&child_main, stack.get() + stack_size,
                        CLONE_VM | CLONE_VFORK | with_pidfd | SIGCHLD, &plan, &made.pidfd);
    if (made.pid < 0) made.pid = -errno;
  }
  if (made.pid > 0 && plan.error != 0) {
    siginfo_t how{};
    while (::waitid(by_pidfd, static_cast<id_t>(made.pidfd), &how, WEXITED) < 0 && errno == EINTR) {
    }
    sys::close(made.pidfd);
    made = {-plan.error, -1};
  }
  return made;
}

}  // namespace coir::io
