#include "http_connection.hpp"

#include <boost/beast/http/error.hpp>

namespace examples {

http::status objection_to(const http::request_header<>& head) {
  if (head.version() != 11 && head.version() != 10) return http::status::http_version_not_supported;
  const auto target = head.target();
  const bool all_of_it = target == "*" && head.method() == http::verb::options;
  if (!target.starts_with('/') && !target.starts_with("http://") && !all_of_it)
    return http::status::bad_request;
  int hosts = 0;
  for (const auto& field : head) {
    if (field.name() == http::field::host) ++hosts;
    if (field.name() != http::field::transfer_encoding) continue;
    // The parser takes a coding that it does not know for no body at all, and what follows for a
    // request.
    if (head.version() == 10) return http::status::bad_request;
    if (!boost::beast::iequals(field.value(), "chunked")) return http::status::not_implemented;
  }
  // Which server is meant has to be said, and once (RFC 9112, 3.2).
  const bool said = hosts == 1 || (hosts == 0 && head.version() == 10);
  return said ? http::status::unknown : http::status::bad_request;
}

http::status answer_to(const boost::system::error_code& error) {
  if (error == boost::asio::error::timed_out) return http::status::request_timeout;
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return http::status::request_header_fields_too_large;
  if (error == http::error::body_limit) return http::status::payload_too_large;
  static const auto& of_http = make_error_code(http::error::bad_method).category();
  return error.category() == of_http ? http::status::bad_request : http::status::unknown;
}

}  // namespace examples
