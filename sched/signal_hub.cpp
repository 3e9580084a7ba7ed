#include "signal_hub.hpp"

#include <atomic>
#include <bit>
#include <cerrno>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include <coir/sched/detached_thread.hpp>
#include <coir/sched/task_handle.hpp>

namespace coir::sched {
namespace {

constexpr int last_signal = 64;

// What the handler touches: static, never destroyed, and free of locks. A handler that is still on
// its way when the last subscriber goes finds it as ever.
struct bell {
  // How often each has come; added to by the handler, taken by the hub's thread.
  std::atomic<std::uint32_t> counts[last_signal + 1];
  // A ring is under way. Set by who rings, after its count; cleared by the thread before it takes
  // the counts: acq_rel on both sides, so that a count whose ring was left out is seen.
  std::atomic<bool> rung{false};
  sem_t rings;

  bell() noexcept { ::sem_init(&rings, 0, 0); }
  void ring() noexcept {
    if (!rung.exchange(true, std::memory_order_acq_rel)) ::sem_post(&rings);
  }
  void wait() noexcept {
    while (::sem_wait(&rings) != 0) {  // a signal came to this thread
    }
    rung.exchange(false, std::memory_order_acq_rel);
  }
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

bell& the_bell() {
  static bell& only = *new bell;
  return only;
}
std::atomic<bell*> bell_of_handler{nullptr};  // the handler may not wait for a static to be made

extern "C" void coir_signal_arrived(int signal) {
  const int saved = errno;
  bell& b = *bell_of_handler.load(std::memory_order_relaxed);
  b.counts[signal].fetch_add(1, std::memory_order_relaxed);
  b.ring();
  errno = saved;
}

// The signals of faults belong to the instruction that made them.
signal_mask refused() noexcept {
  signal_mask all = 0;
  for (const int s : {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) all |= bit_of(s);
  return all;
}

template <class F>
void for_each_signal(signal_mask of, F f) {
  for (; of != 0; of &= of - 1) f(std::countr_zero(of) + 1);
}

class hub {
 public:
  std::mutex mutex;

  void add_locked(signal_subscriber& s, signal_mask wanted) {
    if ((wanted & refused()) != 0)
      throw std::invalid_argument("coir: a signal that cannot be waited for");
    start_locked();
    bell_of_handler.store(&the_bell(), std::memory_order_relaxed);
    for_each_signal(wanted, [&](int signal) {
      if (users_[signal] == 0) take_locked(signal, wanted & (bit_of(signal) - 1));
      ++users_[signal];
    });
    s.mask = wanted;
    s.next = first_;
    first_ = &s;
    the_bell().ring();  // its thread unblocks them
  }

  void remove_locked(signal_subscriber& s) noexcept {
    signal_subscriber** at = &first_;
    while (*at != &s) at = &(*at)->next;
    *at = s.next;
    give_back_locked(s.mask);
    the_bell().ring();
  }

 private:
  // Ours from now on. `counted`: what has been taken already, to be given back if this fails.
  void take_locked(int signal, signal_mask counted) {
    the_bell().counts[signal].store(0, std::memory_order_relaxed);
    struct sigaction ours {};
    ours.sa_handler = &coir_signal_arrived;
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    ::sigfillset(&ours.sa_mask);
    if (::sigaction(signal, &ours, &before_[signal]) == 0) return;
    give_back_locked(counted);
    throw std::invalid_argument("coir: signal " + std::to_string(signal) + " cannot be waited for");
  }

  void give_back_locked(signal_mask all) noexcept {
    for_each_signal(all, [this](int signal) {
      if (--users_[signal] == 0) ::sigaction(signal, &before_[signal], nullptr);
    });
  }

  void start_locked() {
    if (running_) return;
    const auto begin = [](void* all) -> void* {
      static_cast<hub*>(all)->main();
      return nullptr;
    };
    start_detached("the thread that hears signals", begin, this);
    running_ = true;
  }

  void main() noexcept {
    ::pthread_setname_np(::pthread_self(), "coir-signals");
    bool goes_on = true;
    while (goes_on) {
      the_bell().wait();
      goes_on = serve();
      while (fiber_record* const f = take_to_cancel()) {
        cancel(*f, "signal");
        release(*f);
      }
    }
  }

  // False: nobody wants signals any more, and the next who does starts another thread.
  bool serve() noexcept {
    const std::lock_guard held(mutex);
    sigset_t blocked;
    ::sigfillset(&blocked);
    for (const signal_subscriber* s = first_; s != nullptr; s = s->next)
      for_each_signal(s->mask, [&](int signal) { ::sigdelset(&blocked, signal); });
    ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
    for (int signal = 1; signal <= last_signal; ++signal)
      if (const std::uint32_t times =
              the_bell().counts[signal].exchange(0, std::memory_order_relaxed);
          times != 0)
        tell_locked(signal, times);
    return running_ = first_ != nullptr;
  }

  fiber_record* take_to_cancel() noexcept {
    const std::lock_guard held(mutex);
    for (signal_subscriber* s = first_; s != nullptr; s = s->next)
      if (fiber_record* const f = s->to_cancel(); f != nullptr) return f;
    return nullptr;
  }

  void tell_locked(int signal, std::uint32_t times) noexcept {
    for (signal_subscriber* s = first_; s != nullptr; s = s->next)
      if ((s->mask & bit_of(signal)) != 0) s->arrived(signal, times);
  }

  // Under mutex, all of them.
  signal_subscriber* first_ = nullptr;
  std::uint32_t users_[last_signal + 1] = {};
  struct sigaction before_[last_signal + 1] = {};
  bool running_ = false;
};

// Never destroyed: its thread may outlive main.
hub& the_hub() {
  static hub& only = *new hub;
  return only;
}

}  // namespace

void subscribe(signal_subscriber& s, signal_mask wanted) {
  const std::lock_guard held(the_hub().mutex);
  the_hub().add_locked(s, wanted);
}

void unsubscribe(signal_subscriber& s) noexcept {
  const std::lock_guard held(the_hub().mutex);
  the_hub().remove_locked(s);
}

signal_hub_lock::signal_hub_lock() noexcept { the_hub().mutex.lock(); }
signal_hub_lock::~signal_hub_lock() { the_hub().mutex.unlock(); }

}  // namespace coir::sched
