// A process that may start no more threads than a test says: RLIMIT_NPROC, which `ulimit -u` sets.
// For processes that end soon, because nothing here can be taken back.
#pragma once
#include <cstdlib>
#include <system_error>
#include <thread>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace coir::testing {

// Root is not limited: it becomes a user who has no other process. False: it may not.
inline bool become_somebody() {
  const auto somebody = static_cast<uid_t>(20'000 + ::getpid() % 40'000);  // what containers map
  return ::geteuid() != 0 || ::setresuid(somebody, somebody, somebody) == 0;
}
inline bool allow_threads(rlim_t n) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NPROC, &limit);
  limit.rlim_cur = n;
  return ::setrlimit(RLIMIT_NPROC, &limit) == 0;
}
// As somebody; ends the process where that cannot be.
inline void limit_threads(rlim_t n) {
  if (!become_somebody() || !allow_threads(n)) std::_Exit(97);
}

// Whether that keeps threads from starting here, which a privileged container may not let it.
inline bool threads_can_be_limited() {
  const pid_t child = ::fork();
  if (child == 0) {
    limit_threads(1);
    try {
      std::thread([] {}).join();
    } catch (const std::system_error&) {
      ::_exit(0);
    }
    ::_exit(1);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

}  // namespace coir::testing
