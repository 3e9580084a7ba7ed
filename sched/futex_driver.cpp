#include <coir/sched/futex_driver.hpp>

#include "futex.hpp"

namespace coir::sched {

namespace {

class futex_driver final : public driver {
 public:
  completion_contract contract() const noexcept override { return completion_contract::home; }
  void attach() override {}
  void detach() noexcept override {}
  void poll(ready_list&) noexcept override {}
  void wait(clock::time_point deadline, ready_list&) noexcept override {
    if (interrupted_.load(std::memory_order_relaxed) == 0) futex_wait(interrupted_, 0, deadline);
    interrupted_.exchange(0, std::memory_order_acquire);
  }
  void interrupt() noexcept override {
    if (interrupted_.exchange(1, std::memory_order_release) == 0) futex_wake(interrupted_, 1);
  }
  bool busy() const noexcept override { return false; }

 private:
  std::atomic<std::uint32_t> interrupted_{0};
};

class futex_factory final : public driver_factory {
 public:
  std::unique_ptr<driver> make() override { return std::make_unique<futex_driver>(); }
  const char* name() const noexcept override { return "futex"; }
  const char* reason() const noexcept override { return "no I/O was asked for"; }
};

}  // namespace

std::unique_ptr<driver_factory> make_futex_drivers() { return std::make_unique<futex_factory>(); }

}  // namespace coir::sched
