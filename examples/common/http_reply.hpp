// What a server says: a short answer as a value, and how a head is written.
#pragma once
#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>

namespace examples {

namespace http = boost::beast::http;
using request = http::request<http::string_body>;

struct reply {
  http::status status = http::status::ok;
  std::string_view type = "text/plain";  // "": no Content-Type
  std::string body;
  std::string headers;  // further lines, each with its CRLF
};

// The status in words, for answers that have nothing else to say.
reply plain(http::status, std::string headers = {});

// How a request wants to be answered.
struct manner {
  bool http_1_0 = false;
  bool keep_alive = true;
  bool head = false;  // the head alone
};

// The head of an answer; `length` is that of its body.
void append_head(std::string& to, const reply&, std::uint64_t length, const manner&,
                 std::string_view date);

// As HTTP writes times: "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7). 0: it is none.
std::string http_date(std::time_t);
std::time_t parse_http_date(std::string_view);

// The time of now as text, which is made once a second.
class date_line {
 public:
  std::string_view now();

 private:
  std::time_t of_ = 0;
  std::string text_;
};

// The path of a request's target, without query and escapes; "": it has none that can be served.
std::string path_of(std::string_view target);

}  // namespace examples
