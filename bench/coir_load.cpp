// The load client as a program: pings an echo server, checks every byte, says how fast it was.
#include <cstdio>
#include <exception>
#include <thread>

#include "flags.hpp"
#include "load_client.hpp"
#include "process.hpp"
#include "report.hpp"

namespace {

using namespace bench;

struct moment {
  load_figures load;
  double server_cpu;
  double at;
};

moment look(const load_client& client, int server) {
  return {client.figures(), server != 0 ? cpu_seconds_of(server) : 0,
          static_cast<double>(now_ns()) / 1e9};
}

void report_between(const moment& begin, const moment& end, bool with_server) {
  const double seconds = end.at - begin.at;
  const auto answered = static_cast<double>(end.load.answered - begin.load.answered);
  const histogram latency = end.load.latency - begin.load.latency;
  report("requests", answered / seconds, "per_second");
  report("latency_p50", latency.percentile(0.5) / 1000, "us");
  report("latency_p99", latency.percentile(0.99) / 1000, "us");
  report("latency_p999", latency.percentile(0.999) / 1000, "us");
  report("client_cores", (end.load.cpu_seconds - begin.load.cpu_seconds) / seconds, "cores");
  if (!with_server) return;
  report("server_cores", (end.server_cpu - begin.server_cpu) / seconds, "cores");
  if (answered > 0)
    report("server_cpu", (end.server_cpu - begin.server_cpu) * 1e6 / answered, "us");
}

load_options options_from(const flags& f) {
  load_options o;
  if (!f.has("connect")) f.refuse("--connect ADDRESS:PORT is missing");
  o.to = coir::endpoint::parse(f.text("connect"));
  o.connections = static_cast<unsigned>(f.number("connections", 64));
  o.threads = static_cast<unsigned>(f.number("threads", 1));
  o.depth = static_cast<unsigned>(f.number("depth", 1));
  o.size = f.number("size", 64);
  o.churn = f.has("churn");
  if (o.churn && o.depth != 1) f.refuse("--churn sends one message: --depth 1");
  return o;
}

int fail(const std::string& why) {
  std::fprintf(stderr, "coir_load: %s\n", why.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const flags given(argc, argv, "--connect ADDRESS:PORT [OPTION...]",
                    {{"connect", "ADDRESS:PORT", "the server; also unix:PATH"},
                     {"connections", "N", "64"},
                     {"seconds", "S", "how long to measure: 2"},
                     {"warm-up", "MS", "before that: 300"},
                     {"size", "BYTES", "of a message: 64"},
                     {"depth", "N", "messages of one connection on their way at once: 1"},
                     {"churn", "", "each message on a connection of its own"},
                     {"threads", "N", "1"},
                     {"pid", "PID", "of the server: also measures its processor time"}});
  const load_options how = options_from(given);
  const int server = static_cast<int>(given.number("pid", 0));
  raise_descriptor_limit();

  load_client client(how);
  if (!client.wait_until_connected(std::chrono::seconds(10))) {
    const load_figures f = client.figures();
    return fail(f.failed != 0
                    ? f.first_failure
                    : "only " + std::to_string(f.connected) + " connections could be made");
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(given.number("warm-up", 300)));
  const moment begin = look(client, server);
  std::this_thread::sleep_for(std::chrono::seconds(given.number("seconds", 2)));
  const moment end = look(client, server);
  client.stop();

  report_between(begin, end, server != 0);
  const load_figures f = client.figures();
  if (f.failed != 0)
    return fail(std::to_string(f.failed) + " failed; the first: " + f.first_failure);
  if (f.sent != f.received) return fail("not every byte came back");
  return 0;
} catch (const std::exception& e) {
  return fail(e.what());
}
