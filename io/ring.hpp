// One io_uring: its two queues, and the one system call. Only this file pair includes liburing.
#pragma once
#include <cstdint>

#include <liburing.h>

namespace coir::io {

// Later than liburing 2.3; what the running kernel has is probed (probe.hpp).
inline constexpr unsigned register_send_msg_ring = 31;  // IORING_REGISTER_SEND_MSG_RING, Linux 6.13
inline constexpr unsigned send_zero_copy_report = 1u << 3;  // IORING_SEND_ZC_REPORT_USAGE, 6.2
inline constexpr unsigned was_copied = 1u << 31;  // IORING_NOTIF_USAGE_ZC_COPIED, the same
inline constexpr unsigned operation_ftruncate = 55;     // IORING_OP_FTRUNCATE, Linux 6.9
inline constexpr unsigned enter_absolute_timer = 1u << 5;  // IORING_ENTER_ABS_TIMER, Linux 6.12

struct ring_sizes {
  unsigned submissions = 1024;
  unsigned completions = 8192;
};

// All members: the thread that enabled it, but descriptor().
class ring {
 public:
  ring() = default;
  ~ring() { close(); }
  ring(const ring&) = delete;
  ring& operator=(const ring&) = delete;

  // Creates it disabled, on any thread; out of memory halves the sizes and tries again. 0 or a
  // negative errno.
  int open(ring_sizes sizes, unsigned setup_flags) noexcept;
  int enable() noexcept;    // on the thread that will use it from now on
  void disable() noexcept;  // on that thread, at the end: it may still be sent messages
  void close() noexcept;    // any thread, afterwards
  bool is_open() const noexcept { return ring_.ring_fd >= 0; }
  int descriptor() const noexcept { return ring_.ring_fd; }

  bool keeps_completions() const noexcept {
    return (ring_.features & IORING_FEAT_NODROP) != 0;
  }  // Linux 5.5
  bool skips_success() const noexcept {
    return (ring_.features & IORING_FEAT_CQE_SKIP) != 0;
  }  // Linux 5.17

  // A zeroed entry, which the next enter() submits; null: full.
  io_uring_sqe* try_prepare() noexcept;
  unsigned prepared() const noexcept {
    return ring_.sq.sqe_tail - __atomic_load_n(ring_.sq.khead, __ATOMIC_ACQUIRE);
  }

  // Submits everything, runs the kernel's deferred work, and waits until `wait_for` completions are
  // in the queue or the timeout. The number submitted, or a negative errno.
  int enter(unsigned wait_for = 0, const __kernel_timespec* timeout = nullptr,
            bool absolute = false) noexcept;
  // The same without completions: for when somebody only needs room.
  int submit() noexcept;

  bool has_completions() const noexcept {
    return *ring_.cq.khead != __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE);
  }
  // Completions wait in the kernel: deferred work, or what found the queue full.
  bool must_enter() const noexcept {
    return (__atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }
  bool overflown() const noexcept {
    return (__atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_CQ_OVERFLOW) != 0;
  }

  // Takes one completion. Its place is free before the caller acts on it, so that acting may enter
  // the kernel.
  bool take(io_uring_cqe& completion) noexcept {
    const unsigned head = *ring_.cq.khead;
    if (head == __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE)) return false;
    const io_uring_cqe& from = ring_.cq.cqes[head & ring_.cq.ring_mask];
    completion.user_data = from.user_data;
    completion.res = from.res;
    completion.flags = from.flags;
    __atomic_store_n(ring_.cq.khead, head + 1, __ATOMIC_RELEASE);
    return true;
  }

  // Any thread: a completion with this user_data appears in the ring of that descriptor. 0 or a
  // negative errno.
  static int send_message(int ring_descriptor, std::uint64_t user_data) noexcept;
  // Which of IORING_OP_* the kernel has. 0 or a negative errno.
  int probe(io_uring_probe& into, unsigned count) noexcept;

 private:
  int enter_with(unsigned flags, unsigned wait_for, void* argument, std::size_t size) noexcept;

  io_uring ring_ = closed();
  unsigned entered_by_ = 0;  // IORING_ENTER_REGISTERED_RING, if so

  static io_uring closed() noexcept {
    io_uring r{};
    r.ring_fd = -1;
    return r;
  }
};

}  // namespace coir::io
