// The thread that reaps children which nobody waits for.
#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <coir/sched/detached_thread.hpp>
#include "child.hpp"

#include "system_calls.hpp"

namespace coir::io {
namespace {

// Always true: while there are children, a thread waits for them, unless none could be started;
// then the next child that comes tries again.
class reaper {
 public:
  void add(std::shared_ptr<child> c) {
    const std::lock_guard held(mutex_);
    children_.push_back(std::move(c));
    if (running_)
      sys::ring(bell_);
    else
      start_locked();
  }

 private:
  void start_locked() {
    bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const auto begin = [](void* all) -> void* {
      static_cast<reaper*>(all)->main();
      return nullptr;
    };
    try {
      sched::start_detached("the thread that reaps children", begin, this);
      running_ = true;
    } catch (const std::system_error&) {
      sys::close(bell_);
    }
  }

  void main() noexcept {
    ::pthread_setname_np(::pthread_self(), "coir-reaper");
    while (goes_on()) {
      ::poll(waited_.data(), waited_.size(), -1);
      std::uint64_t rings = 0;
      [[maybe_unused]] const ssize_t n = ::read(bell_, &rings, sizeof rings);
    }
  }

  bool goes_on() noexcept {
    for (;;) {
      try {
        return collect();
      } catch (const std::bad_alloc&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  }

  // Takes out who has ended. False: nobody is left, and this thread is no longer counted on.
  bool collect() {
    std::vector<std::shared_ptr<child>> ended;  // their descriptors are closed without the mutex
    const std::lock_guard held(mutex_);
    waited_.assign(1, {bell_, POLLIN, 0});
    for (std::size_t i = 0; i < children_.size();) {
      if (!children_[i]->collect().has_value()) {
        waited_.push_back({children_[i++]->pidfd(), POLLIN, 0});
        continue;
      }
      ended.push_back(std::move(children_[i]));
      children_[i] = std::move(children_.back());
      children_.pop_back();
    }
    running_ = !children_.empty();
    if (!running_) sys::close(bell_);
    return running_;
  }

  std::mutex mutex_;
  std::vector<std::shared_ptr<child>> children_;  // under mutex_
  bool running_ = false;                          // under mutex_
  int bell_ = -1;               // rung when a child has come; there while a thread is
  std::vector<pollfd> waited_;  // the thread's
};

// Never destroyed: the thread may outlive main.
reaper& the_reaper() {
  static reaper& only = *new reaper;
  return only;
}

}  // namespace

void reap_in_background(std::shared_ptr<child> c) noexcept {
  try {
    the_reaper().add(std::move(c));
  } catch (const std::bad_alloc&) {  // it stays a zombie, until this process ends
  }
}

}  // namespace coir::io
