#include <coir/sched/detached_thread.hpp>

#include <cerrno>

#include <pthread.h>
#include <sys/resource.h>

#include <coir/sched/signals_blocked.hpp>

namespace coir::sched {
namespace {

std::string limit_of_this_user() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NPROC, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "no limit";
  return std::to_string(limit.rlim_cur);
}

}  // namespace

// EAGAIN stands for all that can run short (pthread_create(3)).
std::system_error no_thread(int error, const std::string& which, const char* or_else) {
  std::string said = "coir: " + which + " cannot be started";
  if (error == EAGAIN)
    said += ": the user's processes and threads have come to their limit (ulimit -u: " +
            limit_of_this_user() +
            "), or the container's (pids.max), or memory to its; raise that" + or_else;
  return {error, std::system_category(), said};
}

void start_detached(const char* which, void* (*main)(void*), void* argument) {
  const signals_blocked inherited;
  pthread_attr_t detached;
  ::pthread_attr_init(&detached);
  ::pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_t made;
  const int error = ::pthread_create(&made, &detached, main, argument);
  ::pthread_attr_destroy(&detached);
  if (error != 0) throw no_thread(error, which);
}

}  // namespace coir::sched
