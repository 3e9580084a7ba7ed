#include "demo_site.hpp"

#include <charconv>
#include <optional>
#include <string>

#include "http_connection.hpp"

namespace examples {
namespace {

using namespace std::chrono_literals;

// /7 and /7?again are page 7.
std::optional<unsigned> number_of(const std::string& path) {
  if (path == "/") return 0;
  unsigned n = 0;
  const char* const last = path.data() + path.size();
  const auto [end, error] = std::from_chars(path.data() + 1, last, n);
  return error == std::errc() && end == last ? std::optional(n) : std::nullopt;
}

std::string link(const std::string& to) { return "<a href=\"" + to + "\">" + to + "</a>\n"; }

reply page(unsigned number, unsigned pages) {
  std::string text = "<h1>Page " + std::to_string(number) + "</h1>\n" + link("/");
  for (unsigned child = 3 * number + 1; child <= 3 * number + 3; ++child)
    if (child < pages) text += link(std::to_string(child));
  if (number % 50 == 7) text += link("gone/" + std::to_string(number));
  if (number % 50 == 8) text += link("/moved/" + std::to_string(number / 2));
  return {.type = "text/html", .body = std::move(text), .headers = {}};
}

}  // namespace

void serve_demo_site(coir::tcp_stream peer, http_service& service, unsigned pages) {
  http_connection client(peer, service);
  while (const request* asked = client.next()) {
    const std::string path = path_of({asked->target().data(), asked->target().size()});
    const auto number = number_of(path);
    if (path.starts_with("/moved/"))
      client.send(plain(http::status::found, "Location: " + path.substr(6) + "\r\n"));
    else if (!number || *number >= pages)
      client.send(plain(http::status::not_found));
    else if (service.requests % 10 == 3)  // a bad day: the next try may do
      client.send(plain(http::status::service_unavailable));
    else {
      if (*number % 10 == 4) coir::this_fiber::sleep_for(20ms);
      client.send(page(*number, pages));
    }
  }
}

}  // namespace examples
