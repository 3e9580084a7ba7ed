#include "http_reply.hpp"

#include <charconv>

#include <coir/sched/clock.hpp>

namespace examples {
namespace {

void append_number(std::string& to, std::uint64_t n) {
  char digits[20];
  to.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

bool has_body(http::status s) {
  return s != http::status::not_modified && s != http::status::no_content;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

reply plain(http::status status, std::string headers) {
  reply r{.status = status, .body = {}, .headers = std::move(headers)};
  if (!has_body(status)) return r;
  r.body = std::to_string(static_cast<unsigned>(status)) + " ";
  r.body += http::obsolete_reason(status);
  r.body += '\n';
  return r;
}

void append_head(std::string& to, const reply& r, std::uint64_t length, const manner& m,
                 std::string_view date) {
  if (r.status == http::status::ok) {
    to += "HTTP/1.1 200 OK\r\nDate: ";
  } else {
    to += "HTTP/1.1 ";
    append_number(to, static_cast<unsigned>(r.status));
    const auto reason = http::obsolete_reason(r.status);
    (to += ' ').append(reason.data(), reason.size()) += "\r\nDate: ";
  }
  to += date;
  if (has_body(r.status)) {
    if (!r.type.empty()) (to += "\r\nContent-Type: ") += r.type;
    to += "\r\nContent-Length: ";
    append_number(to, length);
  }
  if (!m.keep_alive)
    to += "\r\nConnection: close";
  else if (m.http_1_0)
    to += "\r\nConnection: keep-alive";
  to += "\r\n";
  to += r.headers;
  to += "\r\n";
}

std::string http_date(std::time_t when) {
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  char text[40];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

std::time_t parse_http_date(std::string_view text) {
  std::tm parts{};
  const std::string terminated(text);
  const char* const end = ::strptime(terminated.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return end != nullptr && *end == '\0' ? ::timegm(&parts) : 0;
}

std::string_view date_line::now() {
  std::timespec t{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &t);
  if (t.tv_sec != of_) {
    of_ = t.tv_sec;
    text_ = http_date(of_);
  }
  return text_;
}

std::string path_of(std::string_view target) {
  if (target.starts_with("http://")) {  // a proxy's form (RFC 9112, 3.2.2)
    target.remove_prefix(7);
    target.remove_prefix(std::min(target.find('/'), target.size()));
  }
  if (!target.starts_with('/')) return {};
  const auto special = target.find_first_of("%?#");
  if (special == target.npos) return std::string(target);
  std::string path(target.substr(0, special));
  target = target.substr(special, target.find_first_of("?#") - special);
  for (std::size_t i = 0; i < target.size(); ++i) {
    char c = target[i];
    if (c == '%') {
      const int high = i + 2 < target.size() ? hex(target[i + 1]) : -1;
      const int low = high >= 0 ? hex(target[i + 2]) : -1;
      if (low < 0) return {};
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return {};
    path += c;
  }
  return path;
}

}  // namespace examples
