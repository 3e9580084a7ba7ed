#include "processors.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include <sched.h>

namespace coir::sched {

namespace {

unsigned in_affinity_mask() {
  // More processors than a cpu_set_t holds: EINVAL, and the hardware's number is as good a guess as
  // any.
  cpu_set_t mask;
  if (::sched_getaffinity(0, sizeof mask, &mask) == 0)
    return std::max(1u, static_cast<unsigned>(CPU_COUNT(&mask)));
  return std::max(1u, std::thread::hardware_concurrency());
}

// "max 100000" or "250000 100000": microseconds of CPU per period.
double quota_v2(const std::string& directory) {
  std::ifstream file(directory + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  return std::strtod(quota.c_str(), nullptr) / period;
}

double quota_v1(const std::string& directory) {
  std::ifstream quota_file(directory + "/cpu.cfs_quota_us"),
      period_file(directory + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0) return 0;
  return quota / period;
}

// The smallest quota on the way from the process's cgroup to the root; 0: none.
template <class Quota>
double smallest(const std::string& mount, std::string path, Quota&& quota) {
  double least = 0;
  for (;;) {
    const double here = quota(mount + path);
    if (here > 0 && (least == 0 || here < least)) least = here;
    const auto slash = path.rfind('/');
    if (path.empty() || slash == std::string::npos) return least;
    path.resize(slash);
  }
}

double cgroup_quota() {
  std::ifstream groups("/proc/self/cgroup");  // "0::/path" or "4:cpu,cpuacct:/path"
  double least = 0;
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string path = line.substr(second + 1);
    double here = 0;
    if (controllers == ",,")
      here = smallest("/sys/fs/cgroup", path, quota_v2);
    else if (controllers.find(",cpu,") != std::string::npos)
      here = smallest("/sys/fs/cgroup/cpu", path, quota_v1);
    if (here > 0 && (least == 0 || here < least)) least = here;
  }
  return least;
}

}  // namespace

unsigned usable_processors() {
  const unsigned mask = in_affinity_mask();
  const double quota = cgroup_quota();
  if (quota <= 0) return mask;
  return std::clamp(static_cast<unsigned>(std::ceil(quota)), 1u, mask);
}

}  // namespace coir::sched
