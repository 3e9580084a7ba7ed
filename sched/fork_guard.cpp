#include "fork_guard.hpp"

#include <pthread.h>

namespace coir::sched {

std::atomic<unsigned> fork_generation{0};

unsigned watch_forks() noexcept {
  static const int registered = ::pthread_atfork(
      nullptr, nullptr, [] { fork_generation.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
  return fork_generation.load(std::memory_order_relaxed);
}

}  // namespace coir::sched
