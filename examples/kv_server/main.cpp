// A server that speaks a good part of Redis's protocol, and keeps what it is told in an append-only
// file if it is given a folder for it.
//   kv_server --listen 127.0.0.1:6379 --workers 2 --dir /var/lib/kv --appendfsync always
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>

#include <coir/coir.hpp>

#include "../common/command_line.hpp"
#include "command.hpp"
#include "session.hpp"
#include "settings.hpp"

using namespace std::chrono_literals;

namespace {

// Every request of the log, carried out again.
void load(kv::server_state& all, kv::append_log& log) {
  std::string reply;
  std::uint64_t count = 0;
  all.data.set_loading(true);
  log.replay([&](std::string_view requests) {
    kv::request_parser parser(requests.size());
    for (; !requests.empty(); requests.remove_prefix(parser.size()), ++count) {
      if (parser.parse(requests) != kv::request_parser::result::request)
        throw std::runtime_error(log.path() + ": no request where one should be");
      const kv::command* what = kv::find_command(parser.words()[0]);
      if (what == nullptr || what->kind != kv::command::writes)
        throw std::runtime_error(log.path() + ": a request that is no change");
      kv::call c{
          .all = all, .client = nullptr, .words = parser.words(), .encoded = {}, .reply = reply};
      run(*what, c);
      if (reply.starts_with('-'))
        throw std::runtime_error(log.path() + ": a request fails: " + reply);
      reply.clear();
    }
  });
  all.data.set_loading(false);
  std::printf("kv_server: %llu changes read from %s\n", static_cast<unsigned long long>(count),
              log.path().c_str());
}

void talk(kv::server_state& all, coir::tcp_stream stream) {
  struct counted {
    std::atomic<std::uint64_t>& clients;
    const std::uint64_t before = clients.fetch_add(1);
    ~counted() { clients.fetch_sub(1); }
  } const one{all.clients};
  all.connections.fetch_add(1, std::memory_order_relaxed);
  if (one.before >= all.given.max_clients) {
    std::error_code gone;
    stream.write("-ERR max number of clients reached\r\n", gone);
    return;
  }
  kv::session(all, std::move(stream)).serve();
}

void serve(const kv::settings& given) {
  coir::signal_set signals{SIGINT, SIGTERM};
  std::optional<kv::append_log> log;
  if (!given.folder.empty()) log.emplace(given.folder, given.appendfsync);
  const auto all = std::make_unique<kv::server_state>(given, log ? &*log : nullptr);
  coir::server server(coir::tcp_listener::bind(given.listen),
                      [&](coir::tcp_stream s) { talk(*all, std::move(s)); });
  coir::task<void> writing;
  if (log) {
    load(*all, *log);
    writing = coir::spawn([&] { log->run(); });
  }
  const auto expiring = coir::spawn([&] {
    for (coir::interval often(100ms);; often.tick()) all->data.expire_due();
  });
  const auto metrics = coir::runtime::current().metrics();
  std::printf("kv_server: %s, %u workers, %s\n", to_string(server.listener().local()).c_str(),
              metrics.workers, metrics.reactor.c_str());
  std::fflush(stdout);
  const auto stopper = coir::spawn([&] {
    signals.wait();
    server.stop(0s);
  });
  server.serve();
  if (writing.valid()) writing.cancel(), writing.wait();
  if (log) log->finish();
  std::puts("kv_server: stopped");
}

}  // namespace

int main(int argc, char** argv) {
  kv::settings s;
  examples::command_line line("kv_server", "speaks a good part of Redis's protocol.");
  line.option("--listen", "ADDRESS:PORT", "where clients connect", s.listen);
  line.option("--dir", "DIR", "where changes are kept; without it they are not", s.folder);
  line.option("--appendfsync", "always|everysec|no", "when they have to be on the disk",
              s.appendfsync);
  line.option("--max-clients", "N", "at once", s.max_clients);
  line.option("--max-request", "BYTES", "the longest request", s.max_request);
  line.option("--output-limit", "BYTES", "that a subscriber may leave unread", s.output_limit);
  line.option("--request-timeout", "MS", "for the next bytes of a request begun",
              s.request_timeout);
  kv::seeded_hash::seed = std::random_device()() * 0x1'0000'0001ull;
  return line.run(argc, argv, [&] { serve(s); });
}
