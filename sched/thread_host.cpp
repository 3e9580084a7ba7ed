#include "thread_host.hpp"

#include <atomic>
#include <mutex>
#include <new>

#include <pthread.h>
#include <sched.h>

#include <coir/sched/spin_lock.hpp>

#include "fatal.hpp"
#include "futex.hpp"
#include "thread_coroutines.hpp"

namespace coir::sched {

namespace {

// Always true: token is 1 from the unpark of a claimed wait until the thread has taken it, so it is
// never stale. Hosts are kept for other threads when theirs ends: the unparker's last touch is a
// futex wake of the token.
class thread_host final : public host {
 public:
  thread_host() noexcept : host(host_kind::thread) {
    self_.home.store(this, std::memory_order_relaxed);
    running = &self_;
  }

  void park(waiter& w, after_switch after, clock::time_point deadline) noexcept override {
    const wait_generation wait = w.claim.generation();
    if (after.run != nullptr)
      if (waiter* owed = after.run(after.first, after.second)) wake(*owed);
    while (token_.exchange(0, std::memory_order_acquire) == 0) {
      if (futex_wait(token_, 0, deadline) == futex_result::timed_out) {
        if (w.claim.claim(wait, outcome::timed_out)) return;
        deadline = never;  // somebody else has claimed it, and unparks
      }
    }
  }

  void park_operation(waiter&, operation&, clock::time_point) noexcept override {
    fatal("an I/O operation on a plain thread, which has no reactor");
  }

  void unpark(waiter&) noexcept override {
    token_.store(1, std::memory_order_release);
    futex_wake(token_, 1);
  }

  void post(request& r) noexcept override { r.handled(r); }  // a thread is never in an operation
  void yield() noexcept override { ::sched_yield(); }

  thread_host* next_free = nullptr;
  fiber_storage storage;

 private:
  waiter self_;
  std::atomic<std::uint32_t> token_{0};
};

std::mutex free_mutex;
thread_host* free_hosts = nullptr;  // under free_mutex; never freed

void thread_ends(void* h) noexcept {
  static_cast<thread_host*>(h)->storage.clear();  // may block: it is still the thread's host
  set_current_host(nullptr);
  auto* gone = static_cast<thread_host*>(h);
  forget_coroutines(*gone);  // the next thread has other addresses
  std::lock_guard lock(free_mutex);
  gone->next_free = free_hosts;
  free_hosts = gone;
}

pthread_key_t key_of_hosts() noexcept {
  static const pthread_key_t key = [] {
    pthread_key_t made;
    if (::pthread_key_create(&made, &thread_ends) != 0) fatal("no pthread key is left");
    return made;
  }();
  return key;
}

}  // namespace

host& make_thread_host() noexcept {
  host* const h = make_thread_host_if_possible();
  if (h == nullptr) fatal("there is no memory for the first blocking call of a thread");
  return *h;
}

host* make_thread_host_if_possible() noexcept {
  const pthread_key_t key = key_of_hosts();
  thread_host* h;
  {
    std::lock_guard lock(free_mutex);
    h = free_hosts;
    if (h != nullptr) free_hosts = h->next_free;
  }
  if (h == nullptr) h = new (std::nothrow) thread_host;
  if (h == nullptr) return nullptr;
  ::pthread_setspecific(key, h);
  set_current_host(h);
  return h;
}

fiber_storage& storage_of_thread(host& h) noexcept { return static_cast<thread_host&>(h).storage; }

}  // namespace coir::sched
