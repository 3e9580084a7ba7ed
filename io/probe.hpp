// What the running kernel allows, found out once by trying.
#pragma once
#include <cstdint>
#include <string>

namespace coir::io {

struct uring_capabilities {
  bool usable = false;
  int error = 0;             // not usable: the kernel's errno, or ENOSYS for what it lacks
  std::string reason;        // not usable: which step failed, why, and the remedy; in one line
  unsigned setup_flags = 0;  // the best set that it took
  bool message_by_register =
      false;  // IORING_REGISTER_SEND_MSG_RING (6.13): wakes need no ring of the caller's
  bool absolute_timeout = false;  // IORING_ENTER_ABS_TIMER (6.12)
  bool skip_success = false;      // IORING_FEAT_CQE_SKIP (5.17)
  bool multishot_accept = false;  // 5.19

  // Which of IORING_OP_* it has, a bit each. What a reactor cannot do without makes `usable` false;
  // of the others one that is missing (an old kernel, or a filter) is a wait for readiness and a
  // system call, or a call on a thread of the pool.
  std::uint64_t operations = 0;
  bool has(unsigned operation) const noexcept { return (operations >> operation & 1) != 0; }
  bool files = false;          // OPENAT, WRITE, FSYNC, STATX; 5.6
  bool resizes_files = false;  // FTRUNCATE; 6.9
  bool tells_copies = false;   // a SENDMSG_ZC's notification says whether there was one; 6.2
};

// What of it is in use, for runtime_metrics::reactor_reason: one line.
std::string describe(const uring_capabilities&, bool multishot);

// Tries a set-up, one registration and one submission, because a seccomp filter may refuse any of
// them.
uring_capabilities probe_uring();

// The likely cause of a refusal and what to do about it. `step`: the system call that failed.
std::string explain_refusal(const char* step, int error);

}  // namespace coir::io
