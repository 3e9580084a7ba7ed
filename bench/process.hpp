// What a program can learn and change about a process: time used, memory, descriptors, processors.
#pragma once
#include <cstddef>
#include <cstdint>

namespace bench {

std::uint64_t now_ns() noexcept;  // of a clock that only goes forward

double cpu_seconds() noexcept;   // of this process: its own and the kernel's for it
double cpu_seconds_of(int pid);  // of the threads that it has now; 0: no such process
double cpu_seconds_of_this_thread() noexcept;

struct memory {
  std::uint64_t resident = 0, peak = 0, page_tables = 0;  // bytes
  std::uint64_t mappings = 0;
};
memory memory_now();

std::size_t open_descriptors();
void raise_descriptor_limit() noexcept;  // to what the system lets this process have

// Each thread of the process but the calling one to a processor of its own, in the order of their
// creation, among those that the process may use.
void pin_other_threads();
// The calling thread, to the processor that would be the one of the thread with that number.
void pin_this_thread(unsigned number);

}  // namespace bench
