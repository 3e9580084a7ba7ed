// An echo server behind TLS, until SIGINT or SIGTERM.
//   tls_echo 127.0.0.1:7443 chain.pem key.pem
//   openssl s_client -quiet -connect 127.0.0.1:7443
#include <csignal>
#include <cstdio>

#include <coir/coir.hpp>

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s ADDRESS:PORT CERTIFICATE_CHAIN PRIVATE_KEY\n", argv[0]);
    return 2;
  }
  try {
    const auto where = coir::endpoint::parse(argv[1]);
    const auto credentials = coir::tls_context::server(argv[2], argv[3]);
    coir::run([&] {
      coir::signal_set signals{SIGINT, SIGTERM};
      coir::server server(coir::tcp_listener::bind(where), [&](coir::tcp_stream peer) {
        // In the connection's own fiber: a handshake that stalls keeps nobody else waiting.
        auto stream = coir::tls_stream::accept(std::move(peer), credentials);
        char buffer[4096];
        while (const std::size_t n = stream.read_some(buffer))
          stream.write(std::string_view(buffer, n));
        stream.shutdown_write();
      });
      std::printf("tls_echo: %s\n", to_string(server.listener().local()).c_str());
      std::fflush(stdout);
      auto serving = coir::spawn([&] { server.serve(); });
      signals.wait();
      server.stop(1s);
      serving.get();
    });
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tls_echo: %s\n", e.what());
    return 1;
  }
}
