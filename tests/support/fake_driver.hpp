// A scripted driver: the test says when an operation ends and with what, under either completion
// contract.
//
// One fake_io is the device of one runtime. Fibers call operate(); the script, on any thread,
// completes what is in flight. Under the home contract a completion waits for the poll of the
// driver that the operation was started on; under the roaming one it claims the wait at once, from
// the thread that completes it.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <thread>
#include <utility>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/sched/driver.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/spin_lock.hpp>

namespace coir::testing {

class fake_driver;

// What the device does when it is asked to end an operation early.
enum class on_stop : std::uint8_t {
  cancels,  // completes it with -ECANCELED
  holds,    // nothing: the script completes it
  loses,    // it has just completed with `lost_result`
};

class fake_io {
 public:
  static constexpr int lost_result = 77;

  explicit fake_io(sched::completion_contract contract) : contract_(contract) {}

  // The drivers of one runtime; the device outlives it.
  std::unique_ptr<sched::driver_factory> drivers();

  struct ended {
    int result = 0;  // negative errno
    sched::operation::stop stopped_by = sched::operation::stop::none;
  };
  // On a fiber: parks it until the script completes `key`, the deadline comes (-ETIMEDOUT) or it is
  // cancelled (throws coir::cancelled, unless the operation had completed with a result).
  // `before_park` runs when the operation has been started and its fiber has not parked.
  ended operate(int key, clock::time_point deadline = sched::never,
                const std::function<void()>& before_park = {});

  // The script; any thread. False: no operation of that key is in flight, or its wait was claimed
  // by somebody else.
  bool complete(int key, int result = 0);
  // Home: one poll delivers them all, in this order.
  bool complete_together(std::initializer_list<std::pair<int, int>>);

  // What the script asks; any thread.
  bool in_flight(int key);
  bool stop_was_asked(int key);
  unsigned started_on(int key);  // which driver, from 0 in the order of the workers
  sched::waiter* waiter_of(int key, sched::wait_generation&);

  std::atomic<on_stop> when_stopped{on_stop::cancels};
  std::atomic<unsigned> stops{0};       // calls of driver::stop
  std::atomic<unsigned> misuses{0};     // calls on the wrong thread, or after the end
  std::atomic<std::uint64_t> polls{0};  // of all drivers

  sched::completion_contract contract() const noexcept { return contract_; }

 private:
  friend class fake_driver;
  friend class fake_factory;

  // In flight, and linked, under lock_, until it is completed or its fiber takes it back.
  struct started : fiber::intrusive_hook, sched::operation {
    int key = 0;
    fake_driver* on = nullptr;
    sched::wait_generation generation = 0;
    bool asked_to_stop = false;
  };
  using list = fiber::intrusive_list<started>;

  started* find_locked(int key) noexcept;
  void finish_locked(started&, int result) noexcept;
  ended operate_at_home(sched::waiter&, started&, clock::time_point, const std::function<void()>&);
  ended operate_roaming(sched::waiter&, started&, clock::time_point, const std::function<void()>&);

  const sched::completion_contract contract_;
  sched::spin_lock lock_;
  list in_flight_;  // under lock_
};

class fake_driver final : public sched::driver {
 public:
  fake_driver(fake_io& device, unsigned number) noexcept : device_(device), number_(number) {}
  ~fake_driver() override;

  sched::completion_contract contract() const noexcept override { return device_.contract_; }
  void attach() override;
  void detach() noexcept override;
  void poll(sched::ready_list&) noexcept override;
  void wait(clock::time_point deadline, sched::ready_list&) noexcept override;
  void interrupt() noexcept override;
  bool busy() const noexcept override { return in_flight_.load(std::memory_order_relaxed) != 0; }
  void stop(sched::operation&) noexcept override;

 private:
  friend class fake_io;
  void check_thread() noexcept;

  fake_io& device_;
  const unsigned number_;
  std::thread::id owner_;
  fake_io::list completed_;  // under the device's lock; waits for the owner's poll
  std::atomic<int> in_flight_{0};
  std::atomic<std::uint32_t> interrupted_{0};
};

}  // namespace coir::testing
