// Measures what needs no network: a line `name value unit` for each figure. README.md says what
// each means.
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>

#include "flags.hpp"
#include "workload.hpp"

namespace {

using namespace bench;

constexpr std::array workloads{
    workload{"yield", "2, 200 and 1000 fibers that yield", &measure_yield},
    workload{"spawn_join", "spawn a task, join it, again", &measure_spawn_join},
    workload{"spawn_many", "spawn a million tasks, then join them", &measure_spawn_many},
    workload{"fork_join", "fib(27), a task a call", &measure_fork_join},
    workload{"mutex", "100 fibers, a mutex, a yield while it is held", &measure_mutex},
    workload{"channel_ping_pong", "two fibers, two channels, an item there and back",
             &measure_channel_ping_pong},
    workload{"channel_throughput", "one pushes, one pops, a channel of 128",
             &measure_channel_throughput},
    workload{"skynet_channels", "a million leaves sum up through channels",
             &measure_skynet_channels},
    workload{"file_copy", "a file that is in memory, against read(2) and write(2)",
             &measure_file_copy},
    workload{"wake", "from a fiber to a fiber of another worker", &measure_wake},
    workload{"deadlines", "what a deadline adds to a wait", &measure_deadlines},
    workload{"sleepers", "a million fibers that sleep up to a second", &measure_sleepers},
    workload{"generator", "values out of a generator, and making one", &measure_generator},
    workload{"udp_echo", "one UDP socket, 16 messages under way", &measure_udp_echo},
    workload{"stream", "one TCP connection at full speed", &measure_stream},
    workload{"zero_copy", "large writes, with a copy and without", &measure_zero_copy},
    workload{"balance", "work that begins on one of two workers", &measure_balance},
    workload{"scale_fibers", "fibers that take turns, among many", &measure_scale_fibers},
    workload{"scale_timers", "timers that are set and taken back, among many",
             &measure_scale_timers},
    workload{"scale_connections", "connections that are asked in turn, among many",
             &measure_scale_connections},
    workload{"parked", "memory of a million fibers that wait", &measure_parked},
};

settings settings_from(const flags& f) {
  settings s;
  if (f.has("workers")) s.base.workers = static_cast<unsigned>(f.number("workers", 0));
  if (f.has("stack-size")) s.stack_size = f.number("stack-size", 0);
  if (f.has("idle-poll")) s.idle_poll = std::chrono::microseconds(f.number("idle-poll", 0));
  if (f.has("fibers")) s.fibers = f.number("fibers", 0);
  if (f.has("count")) s.count = f.number("count", 0);
  s.to = f.text("to");
  s.quick = f.has("quick");
  s.pin = f.has("pin");
  s.here = f.has("here");
  s.no_reactor = f.has("no-reactor");
  return s;
}

bool is_known(const std::string& word) {
  return std::any_of(workloads.begin(), workloads.end(),
                     [&](const workload& w) { return word == w.name; });
}

}  // namespace

int main(int argc, char** argv) try {
  const flags given(
      argc, argv, "[WORKLOAD...] [OPTION...]",
      {{"list", "", "the workloads"},
       {"quick", "", "small sizes: does it run at all?"},
       {"workers", "N", "instead of 1 and 2"},
       {"stack-size", "BYTES", "of each fiber"},
       {"idle-poll", "US", "how long an idle worker polls before it sleeps"},
       {"fibers", "N", "yield: 2, 200 or 1000 only; mutex, parked and scale: how many"},
       {"count", "N", "operations, tasks or sleepers; fork_join: which number"},
       {"to", "ADDRESS:PORT", "zero_copy: a sink on another machine"},
       {"pin", "", "each worker to a processor of its own"},
       {"here", "", "in this process, not in a child: for profilers"},
       {"no-reactor", "", "workers without I/O"}});
  if (given.has("list")) {
    for (const workload& w : workloads) std::printf("%-18s %s\n", w.name, w.what);
    return 0;
  }
  for (const std::string& word : given.words())
    if (!is_known(word)) given.refuse("there is no workload '" + word + "'");
  const settings s = settings_from(given);
  bool good = true;
  for (const workload& w : workloads) {
    const auto& words = given.words();
    if (words.empty() || std::find(words.begin(), words.end(), w.name) != words.end())
      good &= w.run(s);
  }
  return good ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "coir_bench: %s\n", e.what());
  return 2;
}
