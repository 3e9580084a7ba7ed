// Only with -Dlock_check=true. These functions come before the C library's of the same names, in
// the program and in every library that it loads; std's mutexes call them.
#include "native_locks.hpp"

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <ctime>

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

#include <coir/sched/host.hpp>

#include "fatal.hpp"
#include "fiber_of.hpp"

namespace coir::sched {

namespace {

struct held_lock {
  const void* lock;
  void* site;  // the call's return address
};

// Always true: what is in here was taken by the fiber that runs now, because no fiber gives its
// thread away with a lock. Read and written without a switch in between, so its address may be
// kept.
struct held_locks {
  static constexpr std::size_t most = 32;  // more are not looked at
  held_lock at[most];
  std::size_t count;
};
thread_local held_locks mine;

void taken(const void* lock, void* site) noexcept {
  const host* const here = current_host_if_any();
  if (here == nullptr || here->kind != host_kind::worker || here->running == nullptr) return;
  if (mine.count < held_locks::most) mine.at[mine.count++] = {lock, site};
}

void released(const void* lock) noexcept {
  for (std::size_t i = mine.count; i-- > 0;)
    if (mine.at[i].lock == lock) {
      for (--mine.count; i < mine.count; ++i) mine.at[i] = mine.at[i + 1];
      return;
    }
}

// The C library's function. Not a static with a guard, which might lock.
template <class F>
class original {
 public:
  constexpr explicit original(const char* name) noexcept : name_(name) {}
  template <class... A>
  int operator()(A... arguments) noexcept {
    F* f = function_.load(std::memory_order_relaxed);
    if (f == nullptr) {
      f = reinterpret_cast<F*>(::dlsym(RTLD_NEXT, name_));
      function_.store(f, std::memory_order_relaxed);
    }
    return f(arguments...);
  }
  template <class Lock, class... A>
  int take(void* site, Lock* lock, A... rest) noexcept {
    const int error = (*this)(lock, rest...);
    if (error == 0) taken(lock, site);
    return error;
  }

 private:
  const char* const name_;
  std::atomic<F*> function_{nullptr};
};

using mutex_call = int(pthread_mutex_t*);
using mutex_timed_call = int(pthread_mutex_t*, const timespec*);
using mutex_clock_call = int(pthread_mutex_t*, clockid_t, const timespec*);
using rwlock_call = int(pthread_rwlock_t*);

constinit original<mutex_call> mutex_lock("pthread_mutex_lock");
constinit original<mutex_call> mutex_trylock("pthread_mutex_trylock");
constinit original<mutex_timed_call> mutex_timedlock("pthread_mutex_timedlock");
constinit original<mutex_clock_call> mutex_clocklock("pthread_mutex_clocklock");
constinit original<mutex_call> mutex_unlock("pthread_mutex_unlock");
constinit original<rwlock_call> rwlock_rdlock("pthread_rwlock_rdlock");
constinit original<rwlock_call> rwlock_wrlock("pthread_rwlock_wrlock");
constinit original<rwlock_call> rwlock_tryrdlock("pthread_rwlock_tryrdlock");
constinit original<rwlock_call> rwlock_trywrlock("pthread_rwlock_trywrlock");
constinit original<rwlock_call> rwlock_unlock("pthread_rwlock_unlock");

}  // namespace

void refuse_native_locks(const waiter& w) noexcept {
  if (mine.count == 0) [[likely]]
    return;
  const held_lock last = mine.at[mine.count - 1];
  void* site = last.site;
  std::fprintf(stderr, "coir: a native lock at %p was taken at\n", last.lock);
  ::backtrace_symbols_fd(&site, 1, STDERR_FILENO);
  fatal(
      "fiber %llu waits while it holds that lock: use coir::mutex, or unlock before the blocking "
      "call",
      static_cast<unsigned long long>(fiber_number(&w)));
}

}  // namespace coir::sched

extern "C" {

int pthread_mutex_lock(pthread_mutex_t* m) noexcept {
  return coir::sched::mutex_lock.take(__builtin_return_address(0), m);
}
int pthread_mutex_trylock(pthread_mutex_t* m) noexcept {
  return coir::sched::mutex_trylock.take(__builtin_return_address(0), m);
}
int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* until) noexcept {
  return coir::sched::mutex_timedlock.take(__builtin_return_address(0), m, until);
}
int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t of, const timespec* until) noexcept {
  return coir::sched::mutex_clocklock.take(__builtin_return_address(0), m, of, until);
}
int pthread_mutex_unlock(pthread_mutex_t* m) noexcept {
  coir::sched::released(m);
  return coir::sched::mutex_unlock(m);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* l) noexcept {
  return coir::sched::rwlock_rdlock.take(__builtin_return_address(0), l);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* l) noexcept {
  return coir::sched::rwlock_wrlock.take(__builtin_return_address(0), l);
}
int pthread_rwlock_tryrdlock(pthread_rwlock_t* l) noexcept {
  return coir::sched::rwlock_tryrdlock.take(__builtin_return_address(0), l);
}
int pthread_rwlock_trywrlock(pthread_rwlock_t* l) noexcept {
  return coir::sched::rwlock_trywrlock.take(__builtin_return_address(0), l);
}
int pthread_rwlock_unlock(pthread_rwlock_t* l) noexcept {
  coir::sched::released(l);
  return coir::sched::rwlock_unlock(l);
}

}  // extern "C"
