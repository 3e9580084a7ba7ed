#include "url.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace examples {
namespace {

// Without the steps that "." and ".." are (RFC 3986, 5.2.4).
std::string without_dots(std::string_view path) {
  std::vector<std::string_view> steps;
  bool folder = false;  // the path ends with one
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view step = path.substr(0, path.find('/'));
    path.remove_prefix(step.size());
    folder = step.empty() || step == "." || step == "..";
    if (step == "..") {
      if (!steps.empty()) steps.pop_back();
    } else if (step != "." && !(step.empty() && path.empty())) {
      steps.push_back(step);
    }
  }
  std::string whole;
  for (const auto s : steps) (whole += '/') += s;
  if (folder || whole.empty()) whole += '/';
  return whole;
}

bool has_scheme(std::string_view link) {
  const auto colon = link.find(':');
  return colon != link.npos && colon < std::min(link.find_first_of("/?#"), link.size());
}

}  // namespace

url url::parse(std::string_view text) {
  const auto is_none = [&](const char* why) {
    return std::invalid_argument("\"" + std::string(text) + "\" is no page: " + why);
  };
  std::string_view rest = text;
  if (!rest.starts_with("http://")) throw is_none("it has to begin with http://");
  rest.remove_prefix(7);
  url u;
  const auto end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view path = rest.substr(end);
  rest = rest.substr(0, end);
  path = path.substr(0, path.find('#'));
  if (!path.empty()) u.path = (path[0] == '/' ? "" : "/") + std::string(path);
  const bool bracketed = rest.starts_with('[');
  const auto host_end = bracketed ? rest.find(']') : std::min(rest.find(':'), rest.size());
  if (host_end == rest.npos) throw is_none("the bracket is not closed");
  u.host = bracketed ? rest.substr(1, host_end - 1) : rest.substr(0, host_end);
  rest.remove_prefix(host_end + (bracketed ? 1 : 0));
  if (u.host.empty()) throw is_none("it has no host");
  if (rest.empty()) return u;
  if (rest[0] != ':' || rest.size() == 1) throw is_none("a port has to follow the host");
  u.port = rest.substr(1);
  return u;
}

std::string url::authority() const {
  const std::string name = host.find(':') == host.npos ? host : "[" + host + "]";
  return port == "80" ? name : name + ":" + port;
}

std::optional<url> resolve(const url& page, std::string_view link) {
  link = link.substr(0, link.find('#'));
  url u = page;
  if (has_scheme(link) || link.starts_with("//")) {
    try {
      u = url::parse(link.starts_with("//") ? "http:" + std::string(link) : std::string(link));
    } catch (const std::invalid_argument&) {
      return std::nullopt;
    }
    link = u.path;
  }
  const auto split = std::min(link.find('?'), link.size());
  const std::string_view path = link.substr(0, split), query = link.substr(split);
  const std::string old = page.path.substr(0, page.path.find('?'));
  if (path.starts_with('/'))
    u.path = without_dots(path);
  else if (!path.empty())
    u.path = without_dots(old.substr(0, old.rfind('/') + 1) + std::string(path));
  else if (query.empty())
    return u;  // the page itself
  else
    u.path = old;
  u.path += query;
  return u;
}

std::vector<url> links_of(const url& where, const std::string& html) {
  static constexpr std::string_view mark = "href=\"";
  std::vector<url> found;
  for (auto at = html.find(mark); at != html.npos; at = html.find(mark, at)) {
    at += mark.size();
    const auto end = html.find('"', at);
    if (end == html.npos) break;
    if (auto link = resolve(where, std::string_view(html).substr(at, end - at)))
      found.push_back(std::move(*link));
  }
  return found;
}

void parse(std::string_view text, url& into) { into = url::parse(text); }

}  // namespace examples
