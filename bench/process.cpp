#include "process.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

namespace bench {
namespace {

std::uint64_t read_clock(clockid_t which) noexcept {
  timespec t{};
  ::clock_gettime(which, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(t.tv_nsec);
}

std::vector<int> threads_of(const std::string& process) {
  std::vector<int> ids;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + process + "/task", gone))
    ids.push_back(std::stoi(entry.path().filename()));
  std::sort(ids.begin(), ids.end());
  return ids;
}

// What the first thread may use is what the process was started with.
void pin(int thread, unsigned number) {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (::sched_getaffinity(::getpid(), sizeof usable, &usable) != 0) return;
  number %= static_cast<unsigned>(CPU_COUNT(&usable));
  unsigned processor = 0;
  while (!CPU_ISSET(processor, &usable) || number-- != 0) ++processor;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  ::sched_setaffinity(thread, sizeof one, &one);
}

}  // namespace

std::uint64_t now_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }
double cpu_seconds() noexcept {
  return static_cast<double>(read_clock(CLOCK_PROCESS_CPUTIME_ID)) / 1e9;
}
double cpu_seconds_of_this_thread() noexcept {
  return static_cast<double>(read_clock(CLOCK_THREAD_CPUTIME_ID)) / 1e9;
}

double cpu_seconds_of(int pid) {
  const std::string process = std::to_string(pid);
  double seconds = 0;
  for (const int thread : threads_of(process)) {
    std::ifstream file("/proc/" + process + "/task/" + std::to_string(thread) + "/schedstat");
    double nanoseconds = 0;
    if (file >> nanoseconds) seconds += nanoseconds / 1e9;
  }
  return seconds;
}

memory memory_now() {
  memory m;
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    std::uint64_t kibibytes = 0;
    if ((name == "VmRSS:" || name == "VmHWM:" || name == "VmPTE:") && status >> kibibytes)
      (name == "VmRSS:"   ? m.resident
       : name == "VmHWM:" ? m.peak
                          : m.page_tables) = kibibytes * 1024;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) ++m.mappings;
  return m;
}

std::size_t open_descriptors() {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++n;
  return n - 1;  // the one that lists them
}

void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void pin_other_threads() {
  unsigned number = 0;
  for (const int thread : threads_of("self"))
    if (thread != ::gettid()) pin(thread, number++);
}

void pin_this_thread(unsigned number) { pin(::gettid(), number); }

}  // namespace bench
