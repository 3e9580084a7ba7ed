// Passes every connection on to another address, both ways, until SIGINT or SIGTERM; then lets the
// connections finish.
//   tcp_proxy --listen 127.0.0.1:8080 --to 127.0.0.1:80
//   tcp_proxy --listen [::]:8080 --to 10.0.0.7:80 --idle 300
#include <cstdio>

#include <coir/coir.hpp>

#include "common/command_line.hpp"
#include "common/serve.hpp"

using namespace std::chrono_literals;

namespace {

void pass_on(coir::tcp_stream client, const coir::endpoint& to) {
  try {
    auto upstream = coir::with_timeout(10s, [&] { return coir::tcp_stream::connect(to); });
    coir::copy_both_ways(client, upstream);
  } catch (const coir::timed_out&) {
    std::fprintf(stderr, "tcp_proxy: %s does not answer\n", to_string(to).c_str());
  } catch (const std::system_error& e) {
    // Peers that reset their connections are no news.
    if (e.code() != std::errc::connection_reset && e.code() != std::errc::broken_pipe)
      std::fprintf(stderr, "tcp_proxy: %s\n", e.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  coir::endpoint listen, to;
  std::chrono::seconds idle{0};
  examples::command_line line("tcp_proxy", "passes every connection on to another address.");
  line.needed("--listen", "ADDRESS:PORT", "where clients connect", listen);
  line.needed("--to", "ADDRESS:PORT", "where they get to", to);
  line.option("--idle", "SECONDS", "ends a connection on which nothing moves for so long", idle);
  return line.run(argc, argv, [&] {
    coir::serve_options limits;
    if (idle != 0s) limits.idle_timeout = idle;
    coir::server server(
        coir::tcp_listener::bind(listen),
        [&](coir::tcp_stream client) { pass_on(std::move(client), to); }, limits);
    examples::serve_until_signal(server, {.name = "tcp_proxy"});
  });
}
