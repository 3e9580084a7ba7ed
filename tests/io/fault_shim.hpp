// A seam between the library and the kernel, for tests: a program that is linked with
// fault_shim.cpp has the system calls of its workers, and the entries that they put into rings,
// counted and, one that the test chooses, answered with an error or a short count. The library
// knows nothing of it.
//
// A site is a C function ("recv", "accept4"), a system call that has none ("io_uring_enter",
// "io_uring_register", "epoll_pwait2"), or "uring:" and an operation ("uring:recv"). Only calls of
// workers are sites: what tests and plain threads call goes to the kernel.
#pragma once
#include <map>
#include <string>

namespace coir::testing::faults {

struct fault {
  // A fault that is no errno.
  static constexpr int short_count = -1;  // one byte is moved, or one is asked for
  static constexpr int last = -2;         // a multishot request ends after its next completion

  std::string site;
  int error = 0;       // errno, or one of the above
  unsigned after = 0;  // so many calls at this site go through first
  unsigned times = 1;  // and so many in a row are struck
};
std::string to_string(const fault&);

// One at a time, for all workers. An error that is injected means that the kernel was not asked,
// but for close(2) and shutdown(2), which Linux carries out whatever they say.
void arm(const fault&);
unsigned disarm();  // how often it struck

// Calls at each site since the last arm() or forget().
std::map<std::string, unsigned> counted();
void forget();

}  // namespace coir::testing::faults
