#include <utility>

#include <coir/io/connect_error.hpp>
#include <coir/io/resolve.hpp>
#include <coir/io/tcp.hpp>

#include "dial.hpp"
#include "names.hpp"

namespace coir {
namespace {

tcp_stream connect_to(std::string_view host, std::string_view service,
                      std::vector<connect_attempt>& failed, std::error_code& error) {
  auto found = resolve(host, service, error);
  if (!error && service.empty()) error = resolve_errc::bad_port;
  if (error) return {};
  io::handle made = io::dial(io::interleaved(found), io::attempt_delay, failed);
  if (!made.is_open()) error = io::most_telling(failed);
  return tcp_stream(std::move(made));
}

std::string describe(std::string_view host, std::string_view service,
                     const std::vector<connect_attempt>& failed) {
  std::string text = "coir: connect to " + io::quoted(host) + ", service " + io::quoted(service);
  const char* before = " (";
  for (const connect_attempt& a : failed)
    text += std::exchange(before, ", ") + to_string(a.to) + ": " + a.error.message();
  return failed.empty() ? text : text + ")";
}

}  // namespace

connect_error::connect_error(std::error_code code, const std::string& what,
                             std::vector<connect_attempt> attempts)
    : std::system_error(code, what),
      attempts_(std::make_shared<const std::vector<connect_attempt>>(std::move(attempts))) {}
connect_error::~connect_error() = default;

tcp_stream tcp_stream::connect(std::string_view host, std::string_view service,
                               std::error_code& error) {
  std::vector<connect_attempt> failed;
  return connect_to(host, service, failed, error);
}
tcp_stream tcp_stream::connect(std::string_view host, std::string_view service) {
  std::vector<connect_attempt> failed;
  std::error_code error;
  tcp_stream s = connect_to(host, service, failed, error);
  if (error) {
    const std::string what = describe(host, service, failed) + io::remedy_for(error);
    throw connect_error(error, what, std::move(failed));
  }
  return s;
}

}  // namespace coir
