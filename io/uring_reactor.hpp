// The io_uring driver: home completion, one-shot operations, one system call a turn.
//
// Always true: an operation in flight has exactly one live number; its record is touched by nobody
// else between start() and its completion. Owner: everything but interrupt().
#pragma once
#include <atomic>

#include "operation_table.hpp"
#include "probe.hpp"
#include "reactor.hpp"
#include "ring.hpp"

namespace coir::io {

class accept_queue;
class lent_memory;

// Numbers that no operation has: their index is past any table.
inline constexpr std::uint64_t doorbell_number = ~std::uint64_t{0};
inline constexpr std::uint64_t ignored_number = doorbell_number - 1;
// With an operation's number: the answer to its cancellation.
inline constexpr std::uint64_t cancel_mark = std::uint64_t{1} << 31;

struct uring_options {
  uring_capabilities kernel;
  ring_sizes sizes;
  bool multishot = true;
};

class uring_reactor final : public reactor {
 public:
  explicit uring_reactor(const uring_options&);  // throws std::system_error with cause and remedy
  ~uring_reactor() override;

  sched::completion_contract contract() const noexcept override {
    return sched::completion_contract::home;
  }
  void attach() override;
  void detach() noexcept override;
  void poll(sched::ready_list& ready) noexcept override;
  void wait(clock::time_point deadline, sched::ready_list& ready) noexcept override;
  void interrupt() noexcept override;
  bool busy() const noexcept override { return in_flight_.size() != 0; }
  std::size_t in_flight() const noexcept override { return in_flight_.size(); }
  void stop(sched::operation&) noexcept override;
  sched::zero_copy_counts zero_copies() const noexcept override;

  std::int32_t receive(io_call&, std::span<std::byte> into) noexcept override;
  std::int32_t send(io_call&, std::span<const std::byte> from) noexcept override;
  std::int32_t send_message(io_call&, const msghdr&) noexcept override;
  std::int32_t send_lending(io_call&, const msghdr&, lent_memory&) noexcept override;
  std::int32_t receive_message(io_call&, msghdr&, int flags) noexcept override;
  std::int32_t read(io_call&, std::span<std::byte> into) noexcept override;
  std::int32_t write(io_call&, std::span<const iovec> from) noexcept override;
  std::int32_t accept(io_call&) noexcept override;
  std::int32_t connect(io_call&, const void* address, std::size_t size) noexcept override;
  std::int32_t wait_for(io_call&, short poll_events) noexcept override;
  bool takes(file_request::kind) const noexcept override;
  std::int32_t run_file(io_call&, const file_request&) noexcept override;
  bool accept_ahead(handle_type listener, accept_queue&) noexcept override;

  // Written by the owner; a test reads them on its thread.
  struct counters {
    std::uint64_t enters = 0;
    std::uint64_t full_submissions = 0;  // the submission queue was full when an operation began
    std::uint64_t overflows = 0;         // the completion queue was, and had to be flushed
    std::uint64_t dead_completions = 0;  // named no operation
    std::uint64_t cancels_again = 0;     // the first found an operation nowhere that had not ended
  };
  const counters& counts() const noexcept { return counts_; }
  ring& ring_for_tests() noexcept { return ring_; }

 private:
  // What a number in flight stands for. A send that lends memory completes twice: with its result
  // it is over for the fiber, and with the notification the memory is the caller's again.
  struct target {
    enum class kind : std::uint8_t {
      once,          // an operation
      repeatedly,    // an accept_queue
      lending,       // a lending_operation, whose result has not come
      lent,          // a lent_memory, whose notification has not come
      lent_nothing,  // the same, of a send that failed
    };
    void* is = nullptr;
    kind what = kind::once;
    bool awaits_notification() const noexcept {
      return what == kind::lent || what == kind::lent_nothing;
    }
  };
  struct numbered_operation : sched::operation {
    static constexpr target::kind as = target::kind::once;
    std::uint64_t number = 0;
  };
  struct lending_operation : numbered_operation {
    static constexpr target::kind as = target::kind::lending;
    lent_memory* memory = nullptr;
  };

  template <class Fill, class Operation = numbered_operation>
  std::int32_t run(io_call&, Fill fill, Operation op = {}) noexcept;
  template <class Attempt>
  std::int32_t at_once(io_call&, Attempt attempt) noexcept;
  template <class Fill, class Attempt>
  std::int32_t run_or_poll(io_call&, unsigned operation, short ready, Fill fill,
                           Attempt attempt) noexcept;
  std::int32_t wait_a_while(io_call&) noexcept;
  std::int32_t connect_here(io_call&, const void* address, std::size_t size) noexcept;
  io_uring_sqe& prepare() noexcept;
  void enter(unsigned wait_for, const __kernel_timespec* timeout, bool absolute) noexcept;
  void reap(sched::ready_list& ready) noexcept;
  void complete(const io_uring_cqe&, sched::ready_list& ready) noexcept;
  void finish(sched::operation&, const io_uring_cqe&, sched::ready_list& ready) noexcept;
  void complete_further(target, const io_uring_cqe&, sched::ready_list& ready) noexcept;
  void complete_lending(lending_operation&, const io_uring_cqe&, sched::ready_list& ready) noexcept;
  void complete_accept(accept_queue&, const io_uring_cqe&, sched::ready_list& ready) noexcept;
  void complete_unnumbered(const io_uring_cqe&) noexcept;
  void cancel(std::uint64_t number) noexcept;
  void arm_doorbell() noexcept;

  const uring_options options_;
  ring ring_;
  operation_table<target> in_flight_;
  sched::ready_list early_;   // became ready while an operation made room for itself
  bool interrupted_ = false;  // the doorbell has rung since the last wait() returned
  counters counts_;
  // Written by the owner, read by anybody: see zero_copy_counts.
  std::atomic<std::uint64_t> zero_copy_sends_{0}, zero_copy_copied_{0}, zero_copy_refused_{0};

  // The doorbell: any thread. Set by who interrupts, before the message; cleared by the owner when
  // the message has come, before it looks at what the interrupter left.
  std::atomic<bool> rung_{false};
  std::atomic<bool> attached_{false};  // the ring takes messages; set by the owner
  int doorbell_ = -1;                  // eventfd, where the kernel takes no messages
  std::uint64_t rings_ = 0;            // what is read from it
};

}  // namespace coir::io
