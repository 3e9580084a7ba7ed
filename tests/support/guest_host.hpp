// A scheduler that is not ours: one thread, its own fibers, our switch and a driver. The smallest
// host on which the library's primitives and I/O have to work; only for tests. It knows no
// cancellation.
#pragma once
#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <coir/coroutine/coroutine_frame.hpp>
#include <coir/fiber/context.hpp>
#include <coir/fiber/stack.hpp>
#include <coir/sched/host.hpp>

namespace coir::test {

class guest_host final : public sched::host, private fiber::carrier {
 public:
  explicit guest_host(std::unique_ptr<sched::driver> driver)
      : host(sched::host_kind::guest), driver_(std::move(driver)) {}

  // Own thread: before run(), or from one of its fibers.
  void spawn(std::function<void()> body) {
    auto f = std::make_unique<guest_fiber>();
    std::size_t got = 0;
    fiber::stack* s = stacks_.acquire(fiber::stack_pool::rounded(256 * 1024), 1, got);
    f->body = std::move(body);
    f->home.store(this, std::memory_order_relaxed);
    fiber::make_context(f->context, *s, &main_of);
    ready_.push_back(f.get());
    fibers_.push_back(std::move(f));
  }

  // Until every fiber has ended.
  void run() {
    carrier::attach();
    fiber::make_thread_context(loop_, thread_stack_);
    sched::set_current_host(this);
    io = driver_.get();
    io->attach();
    while (!fibers_.empty()) turn();
    io->detach();
    sched::set_current_host(nullptr);
  }

  void park(sched::waiter& w, sched::after_switch after,
            clock::time_point deadline) noexcept override {
    leave(self(w), after, deadline);
  }
  void park_operation(sched::waiter& w, sched::operation& op,
                      clock::time_point deadline) noexcept override {
    w.operating = &op;
    leave(self(w), {}, deadline);
  }
  void yield() noexcept override {
    guest_fiber& f = self(*running);
    ready_.push_back(&f);
    leave(f, {}, sched::never);
  }
  void unpark(sched::waiter& w) noexcept override {  // any thread
    {
      std::lock_guard lock(mutex_);
      woken_.push_back(&self(w));
    }
    if (sched::current_host_if_any() != this) driver_->interrupt();
  }
  void post(sched::request& r) noexcept override {  // any thread
    {
      std::lock_guard lock(mutex_);
      requests_.push_back(&r);
    }
    driver_->interrupt();
  }

 private:
  struct guest_fiber : sched::waiter {
    fiber::context context;
    std::function<void()> body;
    clock::time_point deadline = sched::never;
    bool ended = false;
  };
  static guest_fiber& self(sched::waiter& w) noexcept { return static_cast<guest_fiber&>(w); }

  static void main_of(fiber::carrier& on, fiber::context&) noexcept {
    auto& host = static_cast<guest_host&>(on);
    guest_fiber& f = self(*host.running);
    f.body();
    f.ended = true;
    host.running = nullptr;
    fiber::switch_context(host, f.context, host.loop_, fiber::departure::ended);
  }

  void leave(guest_fiber& f, sched::after_switch after, clock::time_point deadline) noexcept {
    f.deadline = deadline;
    after_ = after;
    running = nullptr;
    // A coroutine that runs on the fiber is what is left, and come back to: on its stack.
    fiber::stack* const own = f.context.on;
    if (f.coroutine != nullptr) f.context.on = f.coroutine->on;
    fiber::switch_context(*this, f.context, loop_);
    f.context.on = own;
    f.deadline = sched::never;
  }

  void turn() {
    take_messages();
    strike_deadlines();
    while (!ready_.empty()) {
      guest_fiber* f = ready_.front();
      ready_.pop_front();
      running = f;
      fiber::switch_context(*this, loop_, f->context);
      if (after_.run != nullptr) {
        const sched::after_switch after = std::exchange(after_, {});
        if (sched::waiter* owed = after.run(after.first, after.second)) sched::wake(*owed);
      }
      if (f->ended) bury(*f);
    }
    if (fibers_.empty()) return;
    clock::time_point earliest = sched::never;
    for (auto& f : fibers_) earliest = std::min(earliest, f->deadline);
    sched::ready_list done;
    const bool messages = [&] {
      std::lock_guard lock(mutex_);
      return !woken_.empty() || !requests_.empty();
    }();
    if (messages)
      io->poll(done);
    else
      io->wait(earliest, done);
    while (sched::waiter* w = done.pop()) ready_.push_back(&self(*w));
  }

  void take_messages() {
    std::lock_guard lock(mutex_);
    for (guest_fiber* f : std::exchange(woken_, {})) ready_.push_back(f);
    for (sched::request* r : std::exchange(requests_, {})) {
      const auto wait = r->target->claim.look();
      if (wait.generation == r->generation && wait.state == sched::outcome::operating)
        stop(*r->target->operating, sched::operation::stop::closed);
      r->handled(*r);
    }
  }

  void strike_deadlines() {
    const auto now = clock::now();
    for (auto& f : fibers_) {
      if (f->deadline > now) continue;
      f->deadline = sched::never;
      const auto wait = f->claim.look();
      if (wait.state == sched::outcome::operating)
        stop(*f->operating, sched::operation::stop::deadline);
      else if (f->claim.claim(wait.generation, sched::outcome::timed_out))
        ready_.push_back(f.get());
    }
  }

  void stop(sched::operation& op, sched::operation::stop why) {
    if (op.stopped_by != sched::operation::stop::none) return;
    op.stopped_by = why;
    io->stop(op);
  }

  void bury(guest_fiber& f) {
    stacks_.release(f.context.on);
    std::erase_if(fibers_, [&](auto& owned) { return owned.get() == &f; });
  }

  std::unique_ptr<sched::driver> driver_;
  fiber::stack_pool stacks_;
  fiber::context loop_;
  fiber::stack thread_stack_;
  sched::after_switch after_;
  std::vector<std::unique_ptr<guest_fiber>> fibers_;  // alive
  std::deque<guest_fiber*> ready_;

  std::mutex mutex_;
  std::vector<guest_fiber*> woken_;        // under mutex_
  std::vector<sched::request*> requests_;  // under mutex_
};

}  // namespace coir::test
