// The epoll driver: roaming completion. An operation is a system call that does not wait, then, if
// it would have to, a claim-once wait for readiness, which any worker's epoll instance may end.
//
// Always true: a descriptor is registered with one instance of its runtime at most, edge-triggered,
// by the worker that first waited; an event that finds nobody waiting stays in direction::ready
// until somebody looks.
#pragma once
#include <atomic>

#include "reactor.hpp"

namespace coir::io {

class epoll_reactor final : public reactor {
 public:
  // `group` names the drivers of one runtime, which share registrations; not 0.
  explicit epoll_reactor(std::uint64_t group);  // throws std::system_error
  ~epoll_reactor() override;

  sched::completion_contract contract() const noexcept override {
    return sched::completion_contract::roaming;
  }
  void attach() override {}
  void detach() noexcept override {}
  void poll(sched::ready_list& ready) noexcept override;
  void wait(clock::time_point deadline, sched::ready_list& ready) noexcept override;
  void interrupt() noexcept override;
  bool busy() const noexcept override { return used_.load(std::memory_order_relaxed); }

  std::int32_t receive(io_call&, std::span<std::byte> into) noexcept override;
  std::int32_t send(io_call&, std::span<const std::byte> from) noexcept override;
  std::int32_t send_message(io_call&, const msghdr&) noexcept override;
  std::int32_t receive_message(io_call&, msghdr&, int flags) noexcept override;
  std::int32_t read(io_call&, std::span<std::byte> into) noexcept override;
  std::int32_t write(io_call&, std::span<const iovec> from) noexcept override;
  std::int32_t accept(io_call&) noexcept override;
  std::int32_t connect(io_call&, const void* address, std::size_t size) noexcept override;
  std::int32_t wait_for(io_call&, short poll_events) noexcept override;

 private:
  template <class Attempt>
  std::int32_t try_or_wait(io_call&, Attempt attempt) noexcept;
  std::int32_t wait_ready(io_call&, descriptor&, direction&, clock::time_point at_most) noexcept;
  std::int32_t wait_a_while(io_call&) noexcept;
  std::int32_t register_once(descriptor&) noexcept;
  void collect(clock::time_point deadline, sched::ready_list& ready) noexcept;
  void deliver(descriptor&, std::uint32_t events, sched::ready_list& ready) noexcept;

  const std::uint64_t group_;
  int epoll_ = -1;                 // any thread may register with it
  int doorbell_ = -1;              // eventfd, edge-triggered: never read
  bool interrupted_ = false;       // owner: the doorbell has rung since the last wait() returned
  std::atomic<bool> rung_{false};  // as in uring_reactor
  std::atomic<bool> used_{false};  // something has been registered
};

}  // namespace coir::io
