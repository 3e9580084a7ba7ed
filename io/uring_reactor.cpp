#include "uring_reactor.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

#include "accept_queue.hpp"
#include "lent_memory.hpp"
#include "system_calls.hpp"

namespace coir::io {
namespace {

__kernel_timespec timespec_of(clock::duration d) noexcept {
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}

void add_one(std::atomic<std::uint64_t>& count) noexcept {  // by its only writer
  count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

uring_reactor::uring_reactor(const uring_options& options) : options_(options) {
  if (const int result = ring_.open(options.sizes, options.kernel.setup_flags); result < 0)
    throw std::system_error(-result, std::system_category(),
                            "coir: " + explain_refusal("io_uring_setup", -result));
  if (options_.kernel.message_by_register) return;
  doorbell_ = ::eventfd(0, EFD_CLOEXEC);
  if (doorbell_ < 0) {
    const int error = errno;
    throw std::system_error(error, std::system_category(),
                            "coir: " + explain_refusal("eventfd", error));
  }
}

uring_reactor::~uring_reactor() {
  if (doorbell_ >= 0) sys::close(doorbell_);
}

void uring_reactor::attach() {
  if (const int result = ring_.enable(); result < 0)
    throw std::system_error(-result, std::system_category(),
                            "coir: " + explain_refusal("io_uring_register", -result));
  if (doorbell_ >= 0) arm_doorbell();
  attached_.store(true, std::memory_order_release);
  interrupted_ =
      rung_.exchange(false, std::memory_order_acq_rel);  // the disabled ring took no message
}

// The ring stays until the destructor, when every thread that might still interrupt has been
// joined.
void uring_reactor::detach() noexcept { ring_.disable(); }

// --- submissions and completions ---

// A full queue is back-pressure: what is there is submitted, and there is room. The kernel refuses
// only while completions that it could not place wait (older kernels) or memory is short; taking
// completions ends both.
io_uring_sqe& uring_reactor::prepare() noexcept {
  for (;;) {
    if (io_uring_sqe* entry = ring_.try_prepare(); entry != nullptr) return *entry;
    ++counts_.full_submissions;
    ++counts_.enters;
    if (const int result = ring_.submit(); result < 0 && result != -EINTR) {
      enter(0, nullptr, false);
      reap(early_);
    }
  }
}

void uring_reactor::enter(unsigned wait_for, const __kernel_timespec* timeout,
                          bool absolute) noexcept {
  ++counts_.enters;
  const int result = ring_.enter(wait_for, timeout, absolute);
  if (result >= 0) return;
  // Interrupted by a signal; timed out; short of memory or of room for completions: the caller
  // comes again.
  if (result == -EINTR || result == -ETIME || result == -EAGAIN || result == -EBUSY ||
      result == -ENOMEM)
    return;
  if (result == -EBADR) {  // the kernel dropped completions for want of memory: who waits for them
                           // waits for ever
    std::fputs("coir: the kernel dropped completions of io_uring for want of memory\n", stderr);
    std::abort();
  }
  sys::descriptor_is_lost("the io_uring", ring_.descriptor(), result);
}

void uring_reactor::poll(sched::ready_list& ready) noexcept {
  while (sched::waiter* w = early_.pop()) ready.push(*w);
  if (ring_.prepared() != 0 || ring_.must_enter()) enter(0, nullptr, false);
  reap(ready);
}

void uring_reactor::wait(clock::time_point deadline, sched::ready_list& ready) noexcept {
  const bool nothing_yet =
      early_.empty() && !interrupted_ && !ring_.has_completions() && !ring_.overflown();
  if (!nothing_yet) {
    poll(ready);
  } else if (deadline == sched::never) {
    enter(1, nullptr, false);
    reap(ready);
  } else {
    const bool absolute = options_.kernel.absolute_timeout;
    const clock::duration until = absolute ? deadline.time_since_epoch() : deadline - clock::now();
    const __kernel_timespec timeout = timespec_of(std::max(until, clock::duration::zero()));
    enter(1, &timeout, absolute);
    reap(ready);
  }
  interrupted_ = false;
}

// Until the queue is empty and the kernel holds nothing back for which there was no room.
void uring_reactor::reap(sched::ready_list& ready) noexcept {
  for (;;) {
    for (io_uring_cqe done{}; ring_.take(done);) complete(done, ready);
    if (!ring_.overflown()) return;
    ++counts_.overflows;
    enter(0, nullptr, false);
  }
}

void uring_reactor::complete(const io_uring_cqe& done, sched::ready_list& ready) noexcept {
  const target* found = in_flight_.find(done.user_data);
  if (found == nullptr) return complete_unnumbered(done);
  if (found->what != target::kind::once) [[unlikely]]
    return complete_further(*found, done, ready);
  auto& op = *static_cast<numbered_operation*>(found->is);
  in_flight_.erase(done.user_data);
  finish(op, done, ready);
}

void uring_reactor::finish(sched::operation& op, const io_uring_cqe& done,
                           sched::ready_list& ready) noexcept {
  op.result = done.res;
  op.flags = done.flags;
  sched::waiter& who = *op.who;
  who.claim.complete();
  ready.push(who);
}

// What completes more than once.
void uring_reactor::complete_further(target found, const io_uring_cqe& done,
                                     sched::ready_list& ready) noexcept {
  using kind = target::kind;
  if (found.what == kind::repeatedly)
    return complete_accept(*static_cast<accept_queue*>(found.is), done, ready);
  if (found.what == kind::lending)
    return complete_lending(*static_cast<lending_operation*>(found.is), done, ready);
  in_flight_.erase(done.user_data);
  using fate = lent_memory::fate;
  fate how = fate::not_sent;  // of which the kernel says that it was copied
  if (found.what == kind::lent) {
    const bool copied = (static_cast<std::uint32_t>(done.res) & was_copied) != 0;
    how = copied ? fate::copied : fate::sent;
    add_one(zero_copy_sends_);
    if (copied) add_one(zero_copy_copied_);
  }
  if (sched::waiter* w = static_cast<lent_memory*>(found.is)->give_back(how); w != nullptr)
    make_ready(*w, ready);
}

// The result of a send that lends memory. The kernel posts it before the notification, whatever it
// is, and says whether one will follow.
void uring_reactor::complete_lending(lending_operation& op, const io_uring_cqe& done,
                                     sched::ready_list& ready) noexcept {
  if (is_refusal_to_lend(done.res)) add_one(zero_copy_refused_);
  if ((done.flags & IORING_CQE_F_MORE) != 0) {
    op.memory->lend();
    in_flight_.replace(
        done.user_data,
        {.is = op.memory, .what = done.res > 0 ? target::kind::lent : target::kind::lent_nothing});
  } else {
    in_flight_.erase(done.user_data);
  }
  finish(op, done, ready);
}

sched::zero_copy_counts uring_reactor::zero_copies() const noexcept {
  const auto read = [](const std::atomic<std::uint64_t>& count) {
    return count.load(std::memory_order_relaxed);
  };
  return {read(zero_copy_sends_), read(zero_copy_copied_), read(zero_copy_refused_)};
}

void uring_reactor::complete_unnumbered(const io_uring_cqe& done) noexcept {
  if (done.user_data == doorbell_number) {
    // Armed again it would fail again, at once and for ever.
    if (done.res < 0 && done.res != -EINTR && done.res != -EAGAIN && done.res != -ECANCELED)
      sys::descriptor_is_lost("the doorbell", doorbell_, done.res);
    interrupted_ = true;
    rung_.exchange(false, std::memory_order_acq_rel);
    if (doorbell_ >= 0) arm_doorbell();
  } else if (const std::uint64_t number = done.user_data ^ cancel_mark;
             const target* about = in_flight_.find(number)) {
    // The kernel was just moving it from one of its lists to another: what ends appears before the
    // answer to its cancellation, so it has not ended. A notification is not to be cancelled.
    if (done.res != -ENOENT || about->awaits_notification()) return;
    ++counts_.cancels_again;
    cancel(number);
  } else if (done.user_data != ignored_number && (done.user_data & cancel_mark) == 0) {
    ++counts_.dead_completions;
  }
}

void uring_reactor::complete_accept(accept_queue& queue, const io_uring_cqe& done,
                                    sched::ready_list& ready) noexcept {
  const bool more = (done.flags & IORING_CQE_F_MORE) != 0;
  if (!more) in_flight_.erase(done.user_data);
  // The last touch, if nothing more comes: the consumer may then take its queue away.
  if (sched::waiter* w = queue.push(done.res, more); w != nullptr) make_ready(*w, ready);
}

// --- the doorbell ---

void uring_reactor::arm_doorbell() noexcept {
  io_uring_sqe& entry = prepare();
  entry.opcode = IORING_OP_READ;
  entry.fd = doorbell_;
  entry.addr = reinterpret_cast<std::uintptr_t>(&rings_);
  entry.len = sizeof rings_;
  entry.user_data = doorbell_number;
}

void uring_reactor::interrupt() noexcept {
  if (rung_.exchange(true, std::memory_order_acq_rel))
    return;  // a message is under way, and not yet seen
  // Read first: a ring that is enabled while the message is refused looks at rung_ itself.
  const bool attached = attached_.load(std::memory_order_acquire);
  for (unsigned turn = 0;; ++turn) {
    const int result = doorbell_ >= 0 ? sys::ring(doorbell_)
                                      : ring::send_message(ring_.descriptor(), doorbell_number);
    if (result >= 0) return;
    if (result == -EBADFD && !attached) return;  // attach() looks
    if (result != -EINTR && result != -EAGAIN && result != -ENOMEM && result != -EOVERFLOW)
      doorbell_ >= 0 ? sys::descriptor_is_lost("the doorbell", doorbell_, result)
                     : sys::descriptor_is_lost("the io_uring", ring_.descriptor(), result);
    sched::std_atomics::pause(turn);  // short of memory: the target must not sleep on
  }
}

}  // namespace coir::io
