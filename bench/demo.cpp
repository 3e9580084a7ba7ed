// What the library is for, in one program: an echo server on fibers, and a load client against it
// in the same process. A line a second; at the end, whether every byte came back and nothing is
// left.
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <thread>

#include <coir/coir.hpp>

#include "flags.hpp"
#include "load_client.hpp"
#include "process.hpp"

namespace {

using namespace bench;
using namespace std::chrono_literals;

void echo(coir::tcp_stream stream) {
  char buffer[4096];
  std::error_code error;
  while (const std::size_t n = stream.read_some(buffer, error))
    if (stream.write(std::string_view(buffer, n), error); error) return;
}

// The server, in a runtime. Plain threads call these.
class service {
 public:
  explicit service(coir::options o) : runtime_(std::move(o)) {
    auto listener = runtime_.block_on(
        [] { return coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0")); });
    address_ = listener.local();
    serving_ = runtime_.spawn([this, l = std::move(listener)]() mutable { serve(std::move(l)); });
  }
  const coir::endpoint& address() const noexcept { return address_; }
  coir::runtime_metrics metrics() const { return runtime_.metrics(); }

  // The number of fibers that are left. One that has just been joined counts until its worker has
  // taken its stack back.
  std::uint64_t stop() {
    end_.set();
    serving_.get();
    for (int i = 0; i < 1000 && runtime_.metrics().fibers_alive != 0; ++i)
      std::this_thread::sleep_for(1ms);
    return runtime_.metrics().fibers_alive;
  }

 private:
  void serve(coir::tcp_listener listener) {
    coir::server server(std::move(listener), &echo);
    auto stopper = coir::spawn([&] {
      end_.wait();
      server.stop(1s);
    });
    server.serve();
    stopper.get();
  }

  coir::event end_;
  coir::runtime runtime_;
  coir::task<void> serving_;
  coir::endpoint address_;
};

void print_head(const coir::runtime_metrics& m, const coir::endpoint& at, unsigned connections) {
  const std::string why = m.reactor_reason.substr(0, m.reactor_reason.find(';'));
  std::printf("echo server on %s: %u workers, reactor %s (%s); %u connections\n",
              to_string(at).c_str(), m.workers, m.reactor.c_str(), why.c_str(), connections);
  std::printf("%8s %12s %12s %10s %10s %10s  %s\n", "second", "connections", "requests/s", "p50 us",
              "p99 us", "steals", "reactor");
}

void print_line(const char* label, const load_figures& from, const load_figures& to, double seconds,
                std::uint64_t steals, const char* reactor) {
  const histogram latency = to.latency - from.latency;
  std::printf("%8s %12u %12.0f %10.1f %10.1f %10" PRIu64 "  %s\n", label, to.connected,
              static_cast<double>(to.answered - from.answered) / seconds,
              latency.percentile(0.5) / 1000, latency.percentile(0.99) / 1000, steals, reactor);
  std::fflush(stdout);
}

double seconds_between(std::uint64_t from_ns, std::uint64_t to_ns) {
  return static_cast<double>(to_ns - from_ns) / 1e9;
}

void watch(const service& s, const load_client& client, unsigned seconds) {
  const std::uint64_t begin = now_ns();
  const load_figures first = client.figures();
  const coir::runtime_metrics at_first = s.metrics();
  load_figures before = first;
  std::uint64_t before_ns = begin, steals = at_first.steals;
  for (unsigned i = 1; i <= seconds && before.failed == 0; ++i) {
    std::this_thread::sleep_for(1s);
    const load_figures now = client.figures();
    const std::uint64_t at = now_ns();
    const coir::runtime_metrics m = s.metrics();
    print_line(std::to_string(i).c_str(), before, now, seconds_between(before_ns, at),
               m.steals - steals, m.reactor.c_str());
    before = now;
    before_ns = at;
    steals = m.steals;
  }
  print_line("all", first, before, seconds_between(begin, before_ns), steals - at_first.steals,
             at_first.reactor.c_str());
}

// Whether all is well.
bool conclude(const load_figures& f, unsigned connections, std::uint64_t fibers_left,
              std::size_t descriptors_left) {
  std::printf("%" PRIu64 " requests on %u connections; %" PRIu64 " bytes sent, %" PRIu64
              " came back, every one the right one\n",
              f.answered, connections, f.sent, f.received);
  if (f.failed != 0)
    std::printf("%u connections failed; the first: %s\n", f.failed, f.first_failure.c_str());
  std::printf("left over: %" PRIu64 " fibers, %zu descriptors\n", fibers_left, descriptors_left);
  const bool good = f.failed == 0 && f.answered != 0 && f.sent == f.received && fibers_left == 0 &&
                    descriptors_left == 0;
  std::puts(good ? "good" : "NOT GOOD");
  return good;
}

bool demonstrate(const coir::options& o, load_options load, unsigned seconds) {
  const std::size_t descriptors = open_descriptors();
  load_figures figures;
  std::uint64_t fibers_left = 0;
  {
    service s(o);
    load.to = s.address();
    load_client client(load);
    client.wait_until_connected(5s);
    print_head(s.metrics(), s.address(), load.connections);
    watch(s, client, seconds);
    client.stop();
    figures = client.figures();
    fibers_left = s.stop();
  }
  return conclude(figures, load.connections, fibers_left, open_descriptors() - descriptors);
}

}  // namespace

int main(int argc, char** argv) try {
  const flags given(argc, argv, "[OPTION...]",
                    {{"seconds", "S", "how long: 5"},
                     {"connections", "N", "of the load client: 64"},
                     {"threads", "N", "of the load client: 1"},
                     {"size", "BYTES", "of a message: 64"},
                     {"workers", "N", "of the server; as many as there are processors"}});
  coir::options o = coir::options::from_environment();
  o.workers = static_cast<unsigned>(given.number("workers", o.workers));
  load_options load;
  load.connections = static_cast<unsigned>(given.number("connections", load.connections));
  load.threads = static_cast<unsigned>(given.number("threads", load.threads));
  load.size = given.number("size", load.size);
  raise_descriptor_limit();
  return demonstrate(o, load, static_cast<unsigned>(given.number("seconds", 5))) ? 0 : 1;
} catch (const std::exception& e) {
  std::fprintf(stderr, "coir_demo: %s\n", e.what());
  return 1;
}
