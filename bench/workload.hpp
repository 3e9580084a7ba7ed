// The workloads of coir_bench, and what they are run with.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <coir/sched/options.hpp>

namespace bench {

struct settings {
  coir::options base = coir::options::from_environment();  // 0 workers: each workload's own choice
  std::optional<std::uint64_t> count, fibers;
  std::optional<std::chrono::microseconds> idle_poll;
  std::optional<std::size_t> stack_size;
  std::string to;           // zero_copy: where its bytes go; empty: to a process of its own
  bool quick = false;       // sizes for a test: does it run at all?
  bool pin = false;         // each worker to a processor
  bool here = false;        // in this process, for profilers
  bool no_reactor = false;  // workers that only wait, without I/O

  std::uint64_t count_or(std::uint64_t full, std::uint64_t small) const {
    return count.value_or(quick ? small : full);
  }
  std::vector<unsigned> worker_counts(std::vector<unsigned> usual = {1, 2}) const {
    return base.workers != 0 ? std::vector{base.workers} : usual;
  }
};

// Runs main as a fiber of a new runtime with that many workers.
void on_workers(const settings&, unsigned workers, const std::function<void()>& main);

// Runs f in a child, so that no figure inherits another's memory, and a failure costs one figure
// only. Before any thread exists. False: it failed, and has said why.
bool in_child(const settings&, const std::function<void()>& f);

// "yield_2" and two workers: "yield_2_t2".
std::string with_workers(std::string name, unsigned workers);

struct workload {
  const char* name;
  const char* what;
  bool (*run)(const settings&);  // whether all of its figures could be had
};

bool measure_yield(const settings&);
bool measure_spawn_join(const settings&);
bool measure_spawn_many(const settings&);
bool measure_fork_join(const settings&);
bool measure_mutex(const settings&);
bool measure_channel_ping_pong(const settings&);
bool measure_channel_throughput(const settings&);
bool measure_skynet_channels(const settings&);
bool measure_wake(const settings&);
bool measure_sleepers(const settings&);
bool measure_deadlines(const settings&);
bool measure_parked(const settings&);
bool measure_generator(const settings&);
bool measure_file_copy(const settings&);
bool measure_stream(const settings&);
bool measure_udp_echo(const settings&);
bool measure_balance(const settings&);
bool measure_scale_fibers(const settings&);
bool measure_scale_timers(const settings&);
bool measure_scale_connections(const settings&);
bool measure_zero_copy(const settings&);

}  // namespace bench
