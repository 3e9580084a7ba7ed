// Passes every connection on to another address, both ways, until SIGINT or SIGTERM; then lets the
// connections finish.
//   tcp_proxy --listen 127.0.0.1:8080 --to 127.0.0.1:80
//   tcp_proxy --listen [::]:8080 --to 10.0.0.7:80 --idle 300
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <coir/coir.hpp>

using namespace std::chrono_literals;

namespace {

struct arguments {
  coir::endpoint listen, to;
  coir::serve_options limits;
};

std::chrono::seconds parse_seconds(std::string_view text) {
  unsigned n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n == 0)
    throw std::invalid_argument("--idle takes seconds, not \"" + std::string(text) + "\"");
  return std::chrono::seconds(n);
}

arguments parse(int argc, char** argv) {
  arguments a;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(std::string(name) + " takes a value");
    if (name == "--listen")
      a.listen = coir::endpoint::parse(argv[i + 1]);
    else if (name == "--to")
      a.to = coir::endpoint::parse(argv[i + 1]);
    else if (name == "--idle")
      a.limits.idle_timeout = parse_seconds(argv[i + 1]);
    else
      throw std::invalid_argument("there is no option " + std::string(name));
  }
  if (to_string(a.listen).empty() || to_string(a.to).empty())
    throw std::invalid_argument("--listen and --to are needed");
  return a;
}

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

void serve(const arguments& given) {
  coir::signal_set signals{SIGINT, SIGTERM};
  coir::server server(
      coir::tcp_listener::bind(given.listen),
      [&](coir::tcp_stream client) { pass_on(std::move(client), given.to); }, given.limits);
  std::printf("tcp_proxy: %s\n", to_string(server.listener().local()).c_str());
  std::fflush(stdout);
  auto stopper = coir::spawn([&] {
    signals.wait();
    server.stop(2s);
  });
  server.serve();
  stopper.get();
  std::puts("tcp_proxy: stopped");
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<arguments> given;
  try {
    given = parse(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\nusage: %s --listen ADDRESS:PORT --to ADDRESS:PORT [--idle SECONDS]\n",
                 e.what(), argv[0]);
    return 2;
  }
  try {
    coir::run([&] { serve(*given); });
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tcp_proxy: %s\n", e.what());
    return 1;
  }
}
