// Connections that the kernel accepts ahead, for a consumer that takes them one by one.
//
// Always true: `armed` is false only if no request is in the kernel; results and consumers meet
// under the lock, so the consumer may run on any worker, whichever ring accepts.
#pragma once
#include <cstdint>
#include <vector>

#include <coir/io/stream.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/spin_lock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir::io {

class accept_queue {
 public:
  // The ring's owner: a result of the kernel's; whether more will follow. The waiter that it has
  // claimed, or null.
  sched::waiter* push(std::int32_t result, bool more) noexcept;

  // The consumer. True: a result. False: none yet; `must_arm` says that no request is in the
  // kernel.
  bool try_pop(std::int32_t& result, bool& must_arm) noexcept;
  void armed() noexcept;  // the request has been made
  sched::outcome wait(handle_type listener, bool cancellable, clock::time_point deadline) noexcept;

  bool is_armed() noexcept;

  // After the listener has been shut down: waits for the request's end, closes what nobody took.
  void drain(handle_type listener) noexcept;

 private:
  sched::spin_lock lock_;
  // Under lock_.
  sched::wait_queue consumer_;
  std::vector<std::int32_t> results_;
  std::size_t taken_ = 0;  // of results_, from the front
  bool armed_ = false;
};

}  // namespace coir::io
