// A route that takes three seconds, and who asks for it four times at once: on fibers, which cost
// nothing while they wait, and with the same lines on a thread each.
//   slow_api
//   slow_api --listen 127.0.0.1:8081        and then: slow_api --ask 127.0.0.1:8081
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "common/command_line.hpp"
#include "common/http_client.hpp"
#include "common/http_connection.hpp"
#include "common/serve.hpp"

using namespace std::chrono_literals;

namespace {

struct settings {
  coir::endpoint listen, ask;
  std::chrono::milliseconds delay{3000};
  unsigned times = 4;
};

void answer(coir::tcp_stream peer, examples::http_service& service,
            std::chrono::milliseconds delay) {
  examples::http_connection client(peer, service);
  while (const auto* asked = client.next()) {
    if (asked->target() != "/slow") {
      client.send(examples::plain(boost::beast::http::status::not_found));
      continue;
    }
    coir::this_fiber::sleep_for(delay);
    client.send({.body = "it took its time\n", .headers = {}});
  }
}

void ask_on_a_fiber(const coir::endpoint& server) {
  coir::asio_stream stream(coir::tcp_stream::connect(server));
  examples::ask(stream, to_string(server), "/slow");
}

void ask_on_a_thread(const coir::endpoint& server) {
  namespace asio = boost::asio;
  asio::ip::tcp::endpoint there;
  there.resize(server.native_size());
  std::memcpy(there.data(), server.native(), server.native_size());
  asio::io_context context;
  asio::ip::tcp::socket stream(context);
  stream.connect(there);
  examples::ask(stream, to_string(server), "/slow");
}

long milliseconds(const std::function<void()>& f) {
  const auto began = coir::clock::now();
  f();
  return static_cast<long>((coir::clock::now() - began) / 1ms);
}

void ask(const coir::endpoint& server, unsigned times) {
  const long fibers = milliseconds([&] {
    coir::gather(std::vector<std::function<void()>>(times, [&] { ask_on_a_fiber(server); }));
  });
  std::printf("%u requests at once on fibers: %ld ms\n", times, fibers);
  // Threads are joined where that blocks no worker, which the server may need.
  const long threads = milliseconds([&] {
    coir::offload([&] {
      std::vector<std::jthread> all;
      for (unsigned i = 0; i < times; ++i) all.emplace_back([&] { ask_on_a_thread(server); });
    });
  });
  std::printf("%u requests at once on threads: %ld ms\n", times, threads);
}

void run(const settings& given) {
  const bool both = given.listen == coir::endpoint() && given.ask == coir::endpoint();
  if (given.ask != coir::endpoint()) return ask(given.ask, given.times);
  examples::http_service service({}, both ? "none" : "-");
  coir::server server(
      coir::tcp_listener::bind(both ? coir::endpoint::parse("127.0.0.1:0") : given.listen),
      [&](coir::tcp_stream peer) { answer(std::move(peer), service, given.delay); });
  if (!both)
    return examples::serve_until_signal(
        server,
        {.name = "slow_api", .grace = given.delay + 2s, .on_signal = [&] { service.end(); }});
  auto serving = coir::spawn([&] { server.serve(); });
  ask(server.listener().local(), given.times);
  server.stop(0s);
  serving.get();
}

}  // namespace

int main(int argc, char** argv) {
  settings s;
  examples::command_line line("slow_api", "asks a slow server several times at once.");
  line.option("--listen", "ADDRESS:PORT", "only serves /slow there", s.listen);
  line.option("--ask", "ADDRESS:PORT", "only asks the server there", s.ask);
  line.option("--delay", "MS", "how long an answer takes (3000)", s.delay);
  line.option("--times", "N", "how often at once (4)", s.times);
  return line.run(argc, argv, [&] { run(s); });
}
