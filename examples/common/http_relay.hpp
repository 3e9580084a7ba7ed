// What a proxy does with a message on its way through.
#pragma once
#include <array>
#include <string>
#include <vector>

#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>

namespace examples {

namespace http = boost::beast::http;

// What is between two neighbours and not for who comes after (RFC 9110, 7.6.1). How the body is
// framed is said anew.
inline void remove_hop_by_hop(http::fields& f) {
  std::vector<std::string> names;
  const auto connection = f.equal_range(http::field::connection);
  for (auto it = connection.first; it != connection.second; ++it)
    for (const auto token : http::token_list(it->value()))
      if (!boost::beast::iequals(token, "host")) names.emplace_back(token);
  for (const auto& name : names) f.erase(name);
  for (const auto name : {http::field::connection, http::field::keep_alive,
                          http::field::proxy_connection, http::field::te, http::field::trailer,
                          http::field::transfer_encoding, http::field::upgrade})
    f.erase(name);
}

// Moves a body on, part by part: `from` reads a part into the parser's body. Which side failed.
enum class relayed { all, source_failed, sink_failed };
template <bool is_request, class From, class To>
relayed relay(http::parser<is_request, http::buffer_body>& source, From from, bool part_is_there,
              To& to, http::message<is_request, http::buffer_body>& message, std::uint64_t& moved) {
  http::serializer<is_request, http::buffer_body> out(message);
  std::array<char, 16 * 1024> part;
  boost::system::error_code error;
  message.body() = {nullptr, 0, !source.is_done()};
  // The head waits for no part of the body, unless one is there already.
  if (!source.is_done() && !part_is_there) http::write_header(to, out, error);
  while (!error) {
    std::size_t size = 0;
    if (!source.is_done()) {
      auto& into = source.get().body();
      into = {part.data(), part.size(), true};
      from(error);
      if (error) return relayed::source_failed;
      size = part.size() - into.size;
    }
    message.body() = {size != 0 ? part.data() : nullptr, size, !source.is_done()};
    moved += size;
    if (size != 0 || source.is_done()) http::write(to, out, error);
    if (error == http::error::need_buffer) error = {};
    if (!error && source.is_done()) return relayed::all;
  }
  return relayed::sink_failed;
}

}  // namespace examples
