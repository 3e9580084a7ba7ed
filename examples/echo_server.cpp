// Sends back whatever it receives, until SIGINT or SIGTERM; then lets the connections finish.
//   echo_server --listen 127.0.0.1:7777 --workers 2
//   echo_server --listen unix:/tmp/echo.sock
#include <coir/coir.hpp>

#include "common/command_line.hpp"
#include "common/serve.hpp"

namespace {

void echo(coir::socket_stream peer) {
  char buffer[4 * 1024];
  std::error_code gone;  // a peer that resets the connection is no news
  while (const std::size_t n = peer.read_some(buffer, gone)) {
    peer.write(std::string_view(buffer, n), gone);
    if (gone) return;
  }
}

template <class Listener>
void serve(const coir::endpoint& where) {
  coir::server server(Listener::bind(where), echo);
  const auto metrics = coir::runtime::current().metrics();
  const std::string& why =
      metrics.reactor_reason;  // then, after a semicolon, how each operation goes
  examples::serve_until_signal(
      server, {.name = "echo_server",
               .more = ", " + std::to_string(metrics.workers) + " workers, " + metrics.reactor +
                       " (" + why.substr(0, why.find(';')) + ")"});
}

}  // namespace

int main(int argc, char** argv) {
  auto listen = coir::endpoint::parse("127.0.0.1:7777");
  examples::command_line line("echo_server", "sends back whatever it receives.");
  line.option("--listen", "ADDRESS:PORT|unix:PATH", "where clients connect", listen);
  return line.run(argc, argv, [&] {
    if (listen.kind() == coir::endpoint::family::unix_domain)
      serve<coir::unix_listener>(listen);
    else
      serve<coir::tcp_listener>(listen);
  });
}
