// Files of a folder and a few routes over HTTP/1.1, with TLS where a certificate is given.
//   http_server --listen 127.0.0.1:8080 --root .
//   http_server --listen 0.0.0.0:8443 --root . --certificate chain.pem --key key.pem
//   curl http://127.0.0.1:8080/hello
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/command_line.hpp"
#include "common/http_connection.hpp"
#include "common/http_options.hpp"
#include "common/serve.hpp"
#include "common/static_files.hpp"

using namespace std::chrono_literals;
using examples::http_connection;
using examples::reply;
using examples::request;
namespace http = boost::beast::http;

namespace {

struct settings : examples::http_settings {
  std::filesystem::path root, certificate, key;
  std::uint64_t most_connections = 0;
};

struct site {
  examples::http_service service;
  std::optional<examples::static_files> files;
  std::optional<coir::tls_context> credentials;
};

reply status(const site& s) {
  const auto m = coir::runtime::current().metrics();
  return {.type = "application/json",
          .body = "{\"reactor\": \"" + m.reactor + "\", \"workers\": " + std::to_string(m.workers) +
                  ", \"fibers\": " + std::to_string(m.fibers_alive) +
                  ", \"connections\": " + std::to_string(s.service.connections) +
                  ", \"requests\": " + std::to_string(s.service.requests) + "}\n",
          .headers = {}};
}

reply not_allowed(const char* methods) {
  return examples::plain(http::status::method_not_allowed,
                         "Allow: " + std::string(methods) + "\r\n");
}

// What is small goes out together with its head; the rest goes past this program, where it can.
template <class S>
void send_part(http_connection<S>& client, coir::file& file, std::uint64_t first,
               std::uint64_t count) {
  constexpr std::size_t at_once = 64 * 1024;
  if constexpr (std::same_as<S, coir::tcp_stream>)
    if (count > at_once) {
      std::error_code error;
      coir::tcp_stream& to = client.flushed();
      if (to.is_open() && coir::send_file(to, file, first, count, error) != count)
        client.break_off();  // it was cut off, or the client has gone
      return;
    }
  std::vector<char> buffer(std::min<std::uint64_t>(count, at_once));
  while (count != 0) {
    const std::size_t n =
        file.read_at(std::span(buffer).first(std::min<std::uint64_t>(count, at_once)), first);
    if (n == 0) return client.break_off();
    client.append({buffer.data(), n});
    if (!client.is_open()) return;
    first += n;
    count -= n;
  }
}

template <class S>
void send_page(http_connection<S>& client, const request& asked, const std::string& path,
               const examples::static_files& files) {
  examples::page page = files.open(path);
  if (page.status == http::status::moved_permanently) {
    // From the target as it came, whose escapes keep; a second slash would be another server's
    // name.
    std::string to(asked.target().substr(0, asked.target().find_first_of("?#")));
    to.erase(0, std::min(to.find_first_not_of('/'), to.size()));
    return client.send(examples::plain(page.status, "Location: /" + to + "/\r\n"));
  }
  if (page.status != http::status::ok) return client.send(examples::plain(page.status));
  const examples::share share = share_of(page, asked);
  client.begin(share.head, share.count);
  if (asked.method() != http::verb::head) send_part(client, page.file, share.first, share.count);
}

template <class S>
void answer(http_connection<S>& client, const request& asked, const site& s) {
  const std::string path = examples::path_of({asked.target().data(), asked.target().size()});
  const bool get = asked.method() == http::verb::get || asked.method() == http::verb::head;
  if (path.empty()) return client.send(examples::plain(http::status::bad_request));
  if (path == "/echo") {
    if (asked.method() != http::verb::post) return client.send(not_allowed("POST"));
    return client.send({.type = "application/octet-stream", .body = asked.body(), .headers = {}});
  }
  if (!get) return client.send(not_allowed("GET, HEAD"));
  if (path == "/hello") return client.send({.body = "hello", .headers = {}});
  if (path == "/status") return client.send(status(s));
  if (!s.files) return client.send(examples::plain(http::status::not_found));
  send_page(client, asked, path, *s.files);
}

template <class S>
void talk(S stream, site& s) {
  http_connection client(stream, s.service);
  while (const request* asked = client.next()) answer(client, *asked, s);
}

void welcome(coir::tcp_stream peer, site& s) {
  if (!s.credentials) return talk(std::move(peer), s);
  const std::string name = s.service.log.name_of(peer);
  std::error_code error;
  auto stream = coir::tls_stream::accept(std::move(peer), *s.credentials, error);
  if (error) return s.service.log.add(name, "TLS: " + error.message(), 400, 0);
  talk(std::move(stream), s);
}

void serve(const settings& given) {
  site s{.service = {given.limits, given.log}, .files = {}, .credentials = {}};
  if (!given.root.empty()) s.files.emplace(given.root);
  if (!given.certificate.empty()) {
    s.credentials = coir::tls_context::server(given.certificate, given.key);
    s.credentials->set_alpn({"http/1.1"});
    s.credentials->set_handshake_timeout(given.limits.header_time);
  }
  coir::server server(
      coir::tcp_listener::bind(given.listen),
      [&](coir::tcp_stream peer) { welcome(std::move(peer), s); },
      {.max_connections = given.most_connections, .idle_timeout = given.limits.idle_time});
  examples::serve_until_signal(
      server, {.name = "http_server", .grace = given.grace, .on_signal = [&] { s.service.end(); }});
}

}  // namespace

int main(int argc, char** argv) {
  settings s;
  examples::command_line line("http_server",
                              "gives out the files of a folder, and /hello, /status, /echo.");
  s.add_to(line);
  line.option("--root", "DIR", "the folder; without it there are only the routes", s.root);
  line.option("--certificate", "PEM", "the chain, for TLS", s.certificate);
  line.option("--key", "PEM", "the private key of --certificate", s.key);
  line.option("--connections", "N", "at once; more wait", s.most_connections);
  line.check([&] {
    if (s.certificate.empty() != s.key.empty())
      throw std::invalid_argument("--certificate and --key go together");
  });
  return line.run(argc, argv, [&] { serve(s); });
}
