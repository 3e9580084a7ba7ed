#include "resolver.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coir/io/resolve.hpp>
#include <coir/sched/detached_thread.hpp>

#include "system_calls.hpp"

namespace coir::io {
namespace {

constexpr std::chrono::seconds idle_limit{10};

std::error_code code_of(sys::name_answer answer) noexcept {
  switch (answer.code) {
    case 0:
      return {};
    case EAI_NONAME:
      return resolve_errc::host_not_found;
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
      return resolve_errc::no_address;
    case EAI_AGAIN:
      return resolve_errc::try_again;
    case EAI_SERVICE:
      return resolve_errc::unknown_service;
    case EAI_MEMORY:
      return std::make_error_code(std::errc::not_enough_memory);
    case EAI_SYSTEM:
      if (answer.error != 0) return {answer.error, std::system_category()};
      break;
  }
  return resolve_errc::refused;
}

// Blocks its thread.
void find_out(question& q) noexcept try {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;  // else each address comes once a type
  addrinfo* found = nullptr;
  const char* const service = q.service.empty() ? nullptr : q.service.c_str();
  q.error = code_of(sys::look_up(q.host.c_str(), service, hints, found));
  if (q.error) return;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, &::freeaddrinfo);
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const endpoint e = endpoint::from_native(a->ai_addr, a->ai_addrlen);
    const bool known = std::find(q.answers.begin(), q.answers.end(), e) != q.answers.end();
    if (e.kind() != endpoint::family::none && !known) q.answers.push_back(e);
  }
  if (q.answers.empty()) q.error = resolve_errc::no_address;
} catch (const std::bad_alloc&) {
  q.error = std::make_error_code(std::errc::not_enough_memory);
}

void answer(question& q) noexcept {
  find_out(q);
  q.lock.lock();
  q.done = true;
  sched::waiter* const w = q.waiting.claim_first();
  q.lock.unlock();
  if (w != nullptr) sched::wake(*w);
}

// Always true: a thread waits, or takes questions until there are none. So there are enough of them
// if no more questions are in the line than threads wait.
class resolver {
 public:
  resolver(int process, const resolver* before) noexcept : process_(process), before_(before) {}

  int process() const noexcept { return process_; }

  void ask(std::shared_ptr<question> q) {
    std::lock_guard held(mutex_);
    line_.push_back(std::move(q));
    if (line_.size() > waiting_ && threads_ < most_questions) {
      try {
        start_thread_locked();
      } catch (const std::system_error&) {
        if (threads_ == 0) {  // else it waits for one that works
          line_.pop_back();
          throw;
        }
      }
    }
    work_.notify_one();
  }

  void forget(const question& q) noexcept {
    std::shared_ptr<question> dropped;  // after the mutex
    std::lock_guard held(mutex_);
    const auto at =
        std::find_if(line_.begin(), line_.end(), [&](const auto& p) { return p.get() == &q; });
    if (at == line_.end()) return;
    dropped = std::move(*at);
    line_.erase(at);
  }

 private:
  void start_thread_locked() {
    const auto begin = [](void* all) -> void* {
      static_cast<resolver*>(all)->thread_main();
      return nullptr;
    };
    sched::start_detached("a thread for resolve()", begin, this);
    ++threads_;
  }

  void thread_main() noexcept {
    ::pthread_setname_np(::pthread_self(), "coir-resolve");
    std::unique_lock lock(mutex_);
    for (bool work = true; work;) {
      while (!line_.empty()) {
        std::shared_ptr<question> q = std::move(line_.front());
        line_.pop_front();
        lock.unlock();
        answer(*q);
        q.reset();
        lock.lock();
      }
      ++waiting_;
      work = work_.wait_for(lock, idle_limit, [this] { return !line_.empty(); });
      --waiting_;
    }
    --threads_;
  }

  const int process_;
  [[maybe_unused]] const resolver* const
      before_;  // of the process that forked this one; for leak checkers
  std::mutex mutex_;
  std::condition_variable work_;
  std::deque<std::shared_ptr<question>> line_;  // under mutex_, as is all that follows
  std::size_t waiting_ = 0;
  unsigned threads_ = 0;
};

// In a forked child there are no threads, and the mutex may be held for ever.
resolver& of_this_process() {
  static constinit std::atomic<resolver*> current{nullptr};
  resolver* there = current.load(std::memory_order_acquire);
  const int process = ::getpid();
  while (there == nullptr || there->process() != process) {
    auto made = std::make_unique<resolver>(process, there);
    if (current.compare_exchange_strong(there, made.get(), std::memory_order_acq_rel))
      return *made.release();
  }
  return *there;
}

}  // namespace

void ask(std::shared_ptr<question> q) { of_this_process().ask(std::move(q)); }
void forget(const question& q) noexcept { of_this_process().forget(q); }

}  // namespace coir::io
