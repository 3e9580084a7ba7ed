#include <coir/interop/guest_thread.hpp>

#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include <signal.h>

#include <coir/sched/driver.hpp>
#include <coir/sched/host.hpp>

#include "driver_factory.hpp"

namespace coir::interop {

namespace {

// As on workers: what writes to a broken pipe raises no SIGPIPE here. What is pending at the end is
// taken, because it would be delivered to a thread that has the signal unblocked again.
class no_sigpipe {
 public:
  void begin() noexcept {
    ::sigemptyset(&only_);
    ::sigaddset(&only_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &only_, &before_);
  }
  void end() noexcept {
    if (::sigismember(&before_, SIGPIPE) != 0) return;
    const timespec at_once{};
    while (::sigtimedwait(&only_, nullptr, &at_once) > 0) {}
    ::pthread_sigmask(SIG_UNBLOCK, &only_, nullptr);
  }

 private:
  sigset_t only_, before_;
};

}  // namespace

// Always true: a fiber is resumed by its own thread alone, so what makes it findable may run before
// its stack is left. Kept for other threads when its thread ends, because late messages find the
// host by its fibers' `home`.
class guest_thread::host final : public sched::host {
 public:
  host() noexcept : sched::host(sched::host_kind::guest) {}

  void open(guest_scheduler& s, std::unique_ptr<sched::driver> d) {
    d->attach();
    no_sigpipe_.begin();
    const std::lock_guard held(mutex_);
    scheduler_ = &s;
    driver_ = std::move(d);
    io = driver_.get();
  }
  void close() noexcept {
    std::unique_lock held(mutex_);
    const std::unique_ptr<sched::driver> last = std::exchange(driver_, nullptr);
    auto requests = std::exchange(requests_, {});
    held.unlock();
    for (sched::request* r : requests) r->handled(*r);
    io->detach();
    no_sigpipe_.end();
    io = nullptr;
    running = nullptr;
  }

  void park(sched::waiter& w, sched::after_switch after,
            clock::time_point deadline) noexcept override {
    const sched::wait_generation wait = w.claim.generation();
    if (after.run != nullptr)
      if (sched::waiter* owed = after.run(after.first, after.second)) sched::wake(*owed);
    suspend(w, deadline, [&] { return w.claim.claim(wait, sched::outcome::timed_out); });
  }
  void park_operation(sched::waiter& w, sched::operation& op,
                      clock::time_point deadline) noexcept override {
    w.operating = &op;
    suspend(w, deadline, [&] {
      stop(op, sched::operation::stop::deadline);
      return false;  // its completion is its only end
    });
  }

  void unpark(sched::waiter& w) noexcept override {
    const std::lock_guard held(mutex_);
    woken_.push(w);
    if (sched::current_host_if_any() != this) driver_->interrupt();
  }
  void post(sched::request& r) noexcept override {
    std::unique_lock held(mutex_);
    if (driver_ != nullptr) {
      try {
        requests_.push_back(&r);
      } catch (const std::bad_alloc&) {
        std::terminate();  // a close that nobody hears of would wait for ever
      }
      driver_->interrupt();
      return;
    }
    held.unlock();
    r.handled(r);
  }
  void yield() noexcept override { scheduler_->yield(); }

  // Nobody looks for messages between this and the next.
  void take() noexcept {
    std::unique_lock held(mutex_);
    sched::ready_list woken = std::exchange(woken_, {});
    const auto requests = std::exchange(requests_, {});
    held.unlock();
    resume(woken);
    for (sched::request* r : requests) {
      const auto wait = r->target->claim.look();
      if (wait.generation == r->generation && wait.state == sched::outcome::operating)
        stop(*r->target->operating, sched::operation::stop::closed);
      r->handled(*r);
    }
  }
  void poll() noexcept {
    take();
    sched::ready_list done;
    io->poll(done);
    resume(done);
  }
  void wait(clock::time_point deadline) noexcept {
    sched::ready_list done;
    io->wait(deadline, done);  // what was left since take() has interrupted it
    resume(done);
    take();
  }
  void interrupt() noexcept {
    const std::lock_guard held(mutex_);
    if (driver_ != nullptr) driver_->interrupt();
  }

  host* next_free = nullptr;

 private:
  static guest_fiber& self(sched::waiter& w) noexcept { return static_cast<guest_fiber&>(w); }

  // `late`, once, past the deadline: whether that ends the wait.
  template <class Late>
  void suspend(sched::waiter& w, clock::time_point deadline, Late late) noexcept {
    guest_fiber& f = self(w);
    while (!f.woken) {
      scheduler_->suspend(f, deadline);
      if (f.woken || deadline == sched::never || clock::now() < deadline) continue;
      deadline = sched::never;
      if (late()) return;
    }
    f.woken = false;
  }
  void stop(sched::operation& op, sched::operation::stop why) noexcept {
    if (op.stopped_by != sched::operation::stop::none) return;
    op.stopped_by = why;
    io->stop(op);
  }
  void resume(sched::ready_list& woken) noexcept {
    while (sched::waiter* w = woken.pop()) {
      self(*w).woken = true;
      scheduler_->make_ready(self(*w));
    }
  }

  guest_scheduler* scheduler_ = nullptr;
  no_sigpipe no_sigpipe_;
  std::mutex mutex_;
  std::unique_ptr<sched::driver> driver_;  // under mutex_; null: the thread has ended
  sched::ready_list woken_;                // under mutex_
  std::vector<sched::request*> requests_;  // under mutex_
};

namespace {

// What is never freed, for the next that needs one.
template <class T>
class store {
 public:
  T* take() {
    const std::lock_guard held(mutex_);
    T* const first = free_;
    if (first == nullptr) return new T;
    free_ = first->next_free;
    return first;
  }
  void give(T* t) noexcept {
    const std::lock_guard held(mutex_);
    t->next_free = free_;
    free_ = t;
  }

 private:
  std::mutex mutex_;
  T* free_ = nullptr;
};

store<guest_fiber>& fibers() {
  static auto* const all = new store<guest_fiber>;  // threads may outlive static objects
  return *all;
}
template <class Host>
store<Host>& hosts() {
  static auto* const all = new store<Host>;
  return *all;
}

}  // namespace

guest_thread::guest_thread(guest_scheduler& s, const options& o) {
  const sched::host* const before = sched::current_host_if_any();
  if (before != nullptr && before->kind != sched::host_kind::thread)
    throw std::logic_error(
        "coir: this thread runs fibers already; a guest scheduler needs a plain one");
  const auto drivers = io::make_driver_factory(o);
  drivers->prepare(1);
  auto driver = drivers->make();
  host_ = hosts<host>().take();
  try {
    host_->open(s, std::move(driver));
  } catch (...) {
    hosts<host>().give(host_);
    throw;
  }
  sched::set_current_host(host_);
}

guest_thread::~guest_thread() {
  host_->close();
  sched::set_current_host(nullptr);
  hosts<host>().give(host_);
}

guest_fiber& guest_thread::enter(void* foreign) {
  guest_fiber* const f = fibers().take();
  f->foreign = foreign;
  f->home.store(host_, std::memory_order_relaxed);
  return *f;
}
void guest_thread::leave(guest_fiber& f) noexcept { fibers().give(&f); }

void guest_thread::runs(guest_fiber* f) noexcept { host_->running = f; }
void guest_thread::poll() noexcept { host_->poll(); }
void guest_thread::wait(clock::time_point deadline) noexcept { host_->wait(deadline); }
void guest_thread::interrupt() noexcept { host_->interrupt(); }

}  // namespace coir::interop
