// Addresses of pages.
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace examples {

struct url {
  std::string host, port = "80", path = "/";

  // "http://HOST[:PORT][/PATH]", HOST a name or an address, IPv6 in brackets. Throws
  // std::invalid_argument that quotes the text and says why it is none.
  static url parse(std::string_view text);

  std::string authority() const;  // host and port, as a Host field has them
  std::string text() const { return "http://" + authority() + path; }
  auto operator<=>(const url&) const = default;
};

// What a link in a page means (RFC 3986, 5), without its fragment; null: no page over HTTP.
std::optional<url> resolve(const url& page, std::string_view link);

// What the href="..." of a page mean.
std::vector<url> links_of(const url& page, const std::string& html);

void parse(std::string_view text, url&);  // for command lines

}  // namespace examples
