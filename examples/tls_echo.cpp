// An echo server behind TLS, until SIGINT or SIGTERM.
//   tls_echo 127.0.0.1:7443 chain.pem key.pem
//   openssl s_client -quiet -connect 127.0.0.1:7443
#include <filesystem>

#include <coir/coir.hpp>

#include "common/command_line.hpp"
#include "common/serve.hpp"

using namespace std::chrono_literals;

namespace {

void serve(const coir::endpoint& where, const coir::tls_context& credentials) {
  coir::server server(coir::tcp_listener::bind(where), [&](coir::tcp_stream peer) {
    // In the connection's own fiber: a handshake that stalls keeps nobody else waiting.
    auto stream = coir::tls_stream::accept(std::move(peer), credentials);
    char buffer[4096];
    while (const std::size_t n = stream.read_some(buffer))
      stream.write(std::string_view(buffer, n));
    stream.shutdown_write();
  });
  examples::serve_until_signal(server, {.name = "tls_echo", .grace = 1s});
}

}  // namespace

int main(int argc, char** argv) {
  coir::endpoint listen;
  std::filesystem::path chain, key;
  examples::command_line line("tls_echo", "sends back whatever it receives over TLS.");
  line.argument("ADDRESS:PORT", listen);
  line.argument("CERTIFICATE_CHAIN", chain);
  line.argument("PRIVATE_KEY", key);
  return line.run(argc, argv, [&] { serve(listen, coir::tls_context::server(chain, key)); });
}
