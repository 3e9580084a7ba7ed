#include <coir/sched/interruption.hpp>

#include <atomic>

#include <pthread.h>
#include <signal.h>

#include <coir/sched/task_handle.hpp>

#include "signal_hub.hpp"

namespace coir::sched {
namespace {

void end_process_by(int signal) noexcept {
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  ::sigaction(signal, &usual, nullptr);
  sigset_t only;
  ::sigemptyset(&only);
  ::sigaddset(&only, signal);
  ::pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  ::raise(signal);
}

}  // namespace

class interruption::watcher final : public signal_subscriber {
 public:
  watcher() { subscribe(*this, bit_of(SIGINT)); }
  ~watcher() { unsubscribe(*this); }

  void arrived(int signal, std::uint32_t times) noexcept override {
    if (came_.exchange(true, std::memory_order_relaxed) || times > 1) end_process_by(signal);
  }

  fiber_record* to_cancel() noexcept override {
    if (!came() || told_ || follows_ == nullptr) return nullptr;
    told_ = true;
    retain(*follows_);
    return follows_;
  }

  void follow(fiber_record* f) noexcept {
    bool late = false;  // the signal came first: whoever heard it found nobody to tell
    {
      const signal_hub_lock held;
      follows_ = f;
      late = f != nullptr && came();
      told_ = told_ || late;
    }
    if (late) cancel(*f, "signal");
  }

  bool came() const noexcept { return came_.load(std::memory_order_relaxed); }

 private:
  fiber_record* follows_ = nullptr;  // under the hub's lock
  bool told_ = false;                // the same
  std::atomic<bool> came_{false};    // written under the hub's lock
};

interruption::interruption(bool wanted) {
  if (wanted) watcher_ = std::make_unique<watcher>();
}
interruption::~interruption() = default;

void interruption::follow(fiber_record* f) noexcept {
  if (watcher_ != nullptr) watcher_->follow(f);
}
bool interruption::came() const noexcept { return watcher_ != nullptr && watcher_->came(); }

}  // namespace coir::sched
