// Sends back whatever it receives, until SIGINT or SIGTERM; then lets the connections finish.
//   echo_server --listen 127.0.0.1:7777 --workers 2
//   echo_server --listen unix:/tmp/echo.sock
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string_view>

#include <coir/coir.hpp>

using namespace std::chrono_literals;

namespace {

struct arguments {
  coir::endpoint listen = coir::endpoint::parse("127.0.0.1:7777");
  coir::options options = coir::options::from_environment();
};

unsigned parse_workers(std::string_view text) {
  unsigned n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n == 0)
    throw std::invalid_argument("--workers takes a number from 1, not \"" + std::string(text) +
                                "\"");
  return n;
}

arguments parse(int argc, char** argv) {
  arguments a;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " takes a value");
    if (name == "--listen")
      a.listen = coir::endpoint::parse(argv[i + 1]);
    else if (name == "--workers")
      a.options.workers = parse_workers(argv[i + 1]);
    else
      throw std::invalid_argument("there is no option " + std::string(name));
  }
  return a;
}

void echo(coir::socket_stream peer) {
  char buffer[4 * 1024];
  std::error_code gone;  // a peer that resets the connection is no news
  while (const std::size_t n = peer.read_some(buffer, gone)) {
    peer.write(std::string_view(buffer, n), gone);
    if (gone) return;
  }
}

// A descriptor that becomes readable when one of them is pending; they are blocked in every thread.
template <class Listener>
void serve(const coir::endpoint& where) {
  coir::signal_set signals{SIGINT, SIGTERM};
  coir::server server(Listener::bind(where), echo);
  const auto metrics = coir::runtime::current().metrics();
  std::printf("echo_server: %s, %u workers, %s (%s)\n",
              to_string(server.listener().local()).c_str(), metrics.workers,
              metrics.reactor.c_str(), metrics.reactor_reason.c_str());
  std::fflush(stdout);
  auto stopper = coir::spawn([&] {
    signals.wait();
    server.stop(2s);
  });
  server.serve();
  stopper.get();
  std::puts("echo_server: stopped");
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<arguments> given;
  try {
    given = parse(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\nusage: %s [--listen ADDRESS:PORT|unix:PATH] [--workers N]\n",
                 e.what(), argv[0]);
    return 2;
  }
  try {
    coir::run(given->options, [&] {
      if (given->listen.kind() == coir::endpoint::family::unix_domain)
        serve<coir::unix_listener>(given->listen);
      else
        serve<coir::tcp_listener>(given->listen);
    });
  } catch (const std::exception& e) {
    std::fprintf(stderr, "echo_server: %s\n", e.what());
    return 1;
  }
}
