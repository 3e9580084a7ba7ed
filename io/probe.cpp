#include "probe.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "ring.hpp"

namespace coir::io {
namespace {

// kernel.io_uring_disabled (Linux 6.6): 0 allowed, 1 refused to the unprivileged, 2 to all; -1: not
// known.
int read_disabled_setting() noexcept {
  int value = -1;
  if (std::FILE* f = std::fopen("/proc/sys/kernel/io_uring_disabled", "re"); f != nullptr) {
    if (std::fscanf(f, "%d", &value) != 1) value = -1;
    std::fclose(f);
  }
  return value;
}

// Best first. TASKRUN_FLAG lets an idle poll see without a system call that there is nothing to do.
constexpr unsigned flag_sets[] = {
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG,                                                    // 6.1
    IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,  // 5.19
    0,
};

struct named_operation {
  unsigned number;
  const char* name;
};
// Without these there is no reactor.
constexpr named_operation needed[] = {{IORING_OP_NOP, "nop"},
                                      {IORING_OP_POLL_ADD, "poll"},
                                      {IORING_OP_ASYNC_CANCEL, "cancel"},
                                      {IORING_OP_READ, "read"},
                                      {IORING_OP_TIMEOUT, "timeout"}};
// Each of these can be done without.
constexpr named_operation wanted[] = {
    {IORING_OP_RECV, "receive"},        {IORING_OP_SEND, "send"},
    {IORING_OP_SENDMSG, "gather send"}, {IORING_OP_RECVMSG, "message receive"},
    {IORING_OP_WRITE, "write"},         {IORING_OP_WRITEV, "gather write"},
    {IORING_OP_ACCEPT, "accept"},       {IORING_OP_CONNECT, "connect"}};

// 0, or the errno: of the call, or ENOSYS for an operation that is missing.
int find_operations(ring& r, uring_capabilities& c) {
  constexpr unsigned count = 256;
  struct free_it {
    void operator()(io_uring_probe* p) const noexcept { std::free(p); }
  };
  const std::unique_ptr<io_uring_probe, free_it> known(static_cast<io_uring_probe*>(
      std::calloc(1, sizeof(io_uring_probe) + count * sizeof(io_uring_probe_op))));
  if (known == nullptr) return ENOMEM;
  if (const int result = r.probe(*known, count); result < 0) return -result;
  for (unsigned op = 0; op < 64; ++op)
    if (io_uring_opcode_supported(known.get(), static_cast<int>(op)) != 0)
      c.operations |= std::uint64_t{1} << op;
  for (const named_operation& op : needed)
    if (!c.has(op.number)) return ENOSYS;
  c.files = true;
  for (const unsigned op : {IORING_OP_OPENAT, IORING_OP_WRITE, IORING_OP_FSYNC, IORING_OP_STATX})
    c.files = c.files && c.has(op);
  c.resizes_files = c.has(operation_ftruncate);
  return 0;
}

int run_nop(ring& r) noexcept {
  r.try_prepare()->opcode = IORING_OP_NOP;
  io_uring_cqe done{};
  const int result = r.enter(1);
  return result < 0 ? result : r.take(done) ? 0 : -EIO;
}

// An absolute time that has passed: ETIME where the flag is known, EINVAL where not.
bool takes_absolute_timeout(ring& r) noexcept {
  const __kernel_timespec past{0, 1};
  return r.enter(1, &past, true) == -ETIME;
}
bool takes_timeout(ring& r) noexcept {
  const __kernel_timespec at_once{0, 1};
  return r.enter(1, &at_once, false) == -ETIME;
}
bool takes_messages(ring& r) noexcept {
  io_uring_cqe done{};
  return ring::send_message(r.descriptor(), 1) == 0 && r.enter(1) == 0 && r.take(done);
}

// What it is sent to does not exist: EBADF where the flag is known, EINVAL where not. It completes
// twice, so nothing else may be asked of that ring afterwards.
bool tells_zero_copies(ring& r) noexcept {
  const msghdr nothing{};
  io_uring_sqe& e = *r.try_prepare();
  e.opcode = IORING_OP_SENDMSG_ZC;
  e.fd = -1;
  e.addr = reinterpret_cast<std::uintptr_t>(&nothing);
  e.len = 1;
  e.ioprio = send_zero_copy_report;
  io_uring_cqe done{};
  return r.enter(1) >= 0 && r.take(done) && done.res == -EBADF;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& w : words) all += (all.empty() ? "" : ", ") + w;
  return all;
}

uring_capabilities refused(const char* step, int error) {
  uring_capabilities c;
  c.error = error;
  c.reason = explain_refusal(step, error);
  return c;
}

}  // namespace

std::string explain_refusal(const char* step, int error) {
  std::string why = std::string(step) + ": " + std::system_category().message(error);
  const int disabled = read_disabled_setting();
  if (error == EPERM && disabled == 2)
    return why + " (the sysctl kernel.io_uring_disabled is 2; set it to 0)";
  if (error == EPERM && disabled == 1)
    return why +
           " (the sysctl kernel.io_uring_disabled is 1; set it to 0, or join the group "
           "kernel.io_uring_group)";
  if (error == EPERM || error == EACCES)
    return why + " (a seccomp filter? allow io_uring_setup, io_uring_enter and io_uring_register)";
  if (error == ENOSYS)
    return why +
           " (a kernel older than 5.11 or without io_uring, or a seccomp filter; allow "
           "io_uring_setup, "
           "io_uring_enter and io_uring_register)";
  if (error == ENOMEM)
    return why + " (a low limit of locked memory? raise ulimit -l, RLIMIT_MEMLOCK)";
  if (error == EMFILE || error == ENFILE) return why + " (raise ulimit -n, RLIMIT_NOFILE)";
  return why;
}

std::string describe(const uring_capabilities& c, bool multishot) {
  std::vector<std::string> there, ringed, polled, threads;
  if ((c.setup_flags & IORING_SETUP_DEFER_TASKRUN) != 0)
    there.emplace_back("deferred task work");
  else if ((c.setup_flags & IORING_SETUP_COOP_TASKRUN) != 0)
    there.emplace_back("cooperative task work");
  there.emplace_back(c.message_by_register ? "wakes by ring message" : "wakes by eventfd");
  there.emplace_back(c.absolute_timeout ? "absolute timeouts" : "relative timeouts");
  for (const named_operation& op : wanted)
    (c.has(op.number) ? ringed : polled).emplace_back(op.name);
  if (multishot && c.multishot_accept && c.has(IORING_OP_ACCEPT))
    ringed.emplace_back("multishot accept");
  if (c.has(IORING_OP_SENDMSG_ZC)) ringed.emplace_back("zero-copy send");
  (c.files ? ringed : threads).emplace_back("files");
  (c.resizes_files ? ringed : threads).emplace_back("truncation");
  threads.emplace_back("names");
  std::string all = joined(there);
  if (!ringed.empty()) all += "; by the ring: " + joined(ringed);
  if (!polled.empty()) all += "; by poll and system call: " + joined(polled);
  return all + "; by threads: " + joined(threads);
}

uring_capabilities probe_uring() {
  ring r;
  int result = -EINVAL;
  uring_capabilities c;
  for (const unsigned flags : flag_sets) {
    result = r.open({.submissions = 8, .completions = 16}, flags);
    c.setup_flags = flags;
    if (result != -EINVAL) break;
  }
  if (result < 0) return refused("io_uring_setup", -result);
  if (result = r.enable(); result < 0) return refused("io_uring_register", -result);
  if (!r.keeps_completions())
    return refused("io_uring_setup: completions could be dropped", ENOSYS);
  if (const int error = find_operations(r, c); error != 0)
    return refused("io_uring_register", error);
  if (result = run_nop(r); result < 0) return refused("io_uring_enter", -result);
  if (!takes_timeout(r)) return refused("io_uring_enter: no timeouts", ENOSYS);
  c.absolute_timeout = takes_absolute_timeout(r);
  c.message_by_register = takes_messages(r);
  c.skip_success = r.skips_success();
  c.multishot_accept =
      c.setup_flags != 0;  // of the same release as COOP_TASKRUN, and invisible to the probe
  c.tells_copies = c.has(IORING_OP_SENDMSG_ZC) && tells_zero_copies(r);
  c.usable = true;
  return c;
}

}  // namespace coir::io
