// The client's side of an HTTP connection.
#pragma once
#include <chrono>
#include <string>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <coir/coir.hpp>
#include <coir/interop/asio.hpp>

namespace examples {

namespace http = boost::beast::http;

inline http::request<http::empty_body> get_request(const std::string& host,
                                                   const std::string& target) {
  http::request<http::empty_body> r{http::verb::get, target, 11};
  r.set(http::field::host, host);
  return r;
}

// Asks over any stream that Beast takes, and waits for the answer. Throws
// boost::system::system_error.
template <class Stream>
http::response<http::string_body> ask(Stream& server, const std::string& host,
                                      const std::string& target) {
  http::write(server, get_request(host, target));
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> answer;
  http::read(server, buffer, answer);
  return answer;
}

}  // namespace examples
