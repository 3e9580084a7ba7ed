#include "ring.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>

#include <sys/syscall.h>
#include <unistd.h>

namespace coir::io {
namespace {

[[gnu::noinline]] int register_with(int fd, unsigned what, void* argument,
                                    unsigned count) noexcept {
  const long result = ::syscall(__NR_io_uring_register, fd, what, argument, count);
  return result < 0 ? -errno : static_cast<int>(result);
}

// Who opens a ring may get the addresses that another thread's had. The kernel orders the two uses,
// behind liburing, where ThreadSanitizer does not see it.
std::atomic<unsigned> turns_of_addresses{0};
void order_uses_of_addresses() noexcept {
  turns_of_addresses.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace

int ring::open(ring_sizes sizes, unsigned setup_flags) noexcept {
  for (;;) {
    io_uring_params params{};
    params.flags = setup_flags | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = sizes.completions;
    const int result = io_uring_queue_init_params(sizes.submissions, &ring_, &params);
    if (result == 0) break;
    ring_ = closed();
    if (result != -ENOMEM || sizes.submissions <= 16) return result;
    sizes.submissions /= 2;
    sizes.completions /= 2;
  }
  order_uses_of_addresses();
  // The kernel looks entries up through an array; ours are always in order.
  if (ring_.sq.array != nullptr)
    for (unsigned i = 0; i < ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
  return 0;
}

int ring::enable() noexcept {
  const int result = register_with(ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  if (result < 0) return result;
  // Spares the kernel a look-up of the descriptor at each call (Linux 5.18); without it all works
  // the same.
  if (io_uring_register_ring_fd(&ring_) == 1) entered_by_ = IORING_ENTER_REGISTERED_RING;
  return 0;
}

// The registration belongs to the thread; closing from another would hit a registration of that
// one's.
void ring::disable() noexcept {
  if (entered_by_ != 0) io_uring_unregister_ring_fd(&ring_);
  entered_by_ = 0;
}

void ring::close() noexcept {
  if (!is_open()) return;
  order_uses_of_addresses();
  io_uring_queue_exit(&ring_);
  ring_ = closed();
}

io_uring_sqe* ring::try_prepare() noexcept {
  if (prepared() == ring_.sq.ring_entries) return nullptr;
  io_uring_sqe* entry = &ring_.sq.sqes[ring_.sq.sqe_tail++ & ring_.sq.ring_mask];
  std::memset(entry, 0, sizeof *entry);
  return entry;
}

// Its own function, never inlined: errno belongs to the thread.
[[gnu::noinline]] int ring::enter_with(unsigned flags, unsigned wait_for, void* argument,
                                       std::size_t size) noexcept {
  __atomic_store_n(ring_.sq.ktail, ring_.sq.sqe_tail, __ATOMIC_RELEASE);
  const long result = ::syscall(__NR_io_uring_enter, ring_.enter_ring_fd, prepared(), wait_for,
                                flags | entered_by_, argument, size);
  return result < 0 ? -errno : static_cast<int>(result);
}

int ring::enter(unsigned wait_for, const __kernel_timespec* timeout, bool absolute) noexcept {
  unsigned flags = IORING_ENTER_GETEVENTS;
  if (timeout == nullptr) return enter_with(flags, wait_for, nullptr, 0);
  io_uring_getevents_arg argument{};
  argument.ts = reinterpret_cast<std::uintptr_t>(timeout);
  flags |= IORING_ENTER_EXT_ARG | (absolute ? enter_absolute_timer : 0);
  return enter_with(flags, wait_for, &argument, sizeof argument);
}

int ring::submit() noexcept { return enter_with(0, 0, nullptr, 0); }

int ring::send_message(int ring_descriptor, std::uint64_t user_data) noexcept {
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_MSG_RING;
  entry.fd = ring_descriptor;
  entry.off = user_data;
  return register_with(-1, register_send_msg_ring, &entry, 1);
}

int ring::probe(io_uring_probe& into, unsigned count) noexcept {
  return register_with(ring_.ring_fd, IORING_REGISTER_PROBE, &into, count);
}

}  // namespace coir::io
