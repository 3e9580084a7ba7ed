// A clock that stands until the test moves it. For runtimes whose fibers wait for nothing but time
// and each other: their drivers sleep until the clock is moved or somebody interrupts.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include <coir/sched/futex_driver.hpp>
#include <coir/sched/parts.hpp>
#include <coir/sched/runtime.hpp>

namespace coir::testing {

class manual_clock {
 public:
  // One runtime at a time; the clock outlives it.
  std::unique_ptr<runtime> make_runtime(options o) {
    o.idle_poll = {};  // which would last until the clock is moved
    drivers_.clear();
    sched::parts made_of(std::make_unique<factory>(*this));
    made_of.time = std::make_unique<source>(*this);
    return std::make_unique<runtime>(std::move(o), std::move(made_of));
  }

  clock::time_point now() const noexcept { return clock::time_point(clock::duration(now_)); }

  // Any thread, while the runtime lives: what has become due strikes when its worker turns.
  void advance(clock::duration by) noexcept {
    now_ += by.count();
    for (driver* d : drivers_) d->interrupt();
  }

  // With pretend_io the workers poll as if an operation were in flight.
  std::atomic<bool> pretend_io{false};
  std::atomic<std::uint64_t> polls{0};

 private:
  class source final : public sched::time_source {
   public:
    explicit source(const manual_clock& of) : of_(of) {}
    clock::time_point now() noexcept override { return of_.now(); }

   private:
    const manual_clock& of_;
  };

  class driver final : public sched::driver {
   public:
    explicit driver(manual_clock& of) : of_(of), in_(sched::make_futex_drivers()->make()) {}
    sched::completion_contract contract() const noexcept override { return in_->contract(); }
    void attach() override { in_->attach(); }
    void detach() noexcept override { in_->detach(); }
    void poll(sched::ready_list& r) noexcept override {
      ++of_.polls;
      in_->poll(r);
    }
    void wait(clock::time_point until, sched::ready_list& r) noexcept override {
      if (until > of_.now()) in_->wait(sched::never, r);
    }
    void interrupt() noexcept override { in_->interrupt(); }
    bool busy() const noexcept override { return of_.pretend_io; }

   private:
    manual_clock& of_;
    const std::unique_ptr<sched::driver> in_;
  };

  class factory final : public sched::driver_factory {
   public:
    explicit factory(manual_clock& of) : of_(of) {}
    std::unique_ptr<sched::driver> make() override {
      auto made = std::make_unique<driver>(of_);
      of_.drivers_.push_back(made.get());
      return made;
    }
    const char* name() const noexcept override { return "manual"; }
    const char* reason() const noexcept override { return "a test moves its clock"; }

   private:
    manual_clock& of_;
  };

  std::atomic<clock::rep> now_{std::chrono::steady_clock::now().time_since_epoch().count()};
  std::vector<driver*> drivers_;  // of the runtime that was made last
};

}  // namespace coir::testing
