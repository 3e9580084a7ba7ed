#include <coir/io/resolve.hpp>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <coir/io/socket_stream.hpp>
#include <coir/sched/cancellation.hpp>

#include "io_call.hpp"
#include "names.hpp"
#include "resolver.hpp"

namespace coir {
namespace {

class category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "coir.resolve"; }
  std::string message(int value) const override {
    switch (static_cast<resolve_errc>(value)) {
      case resolve_errc::host_not_found:
        return "there is no such host";
      case resolve_errc::no_address:
        return "the host has no address";
      case resolve_errc::try_again:
        return "no name server could answer; it may be worth another try";
      case resolve_errc::refused:
        return "the name server will not answer";
      case resolve_errc::unknown_service:
        return "there is no such service";
      case resolve_errc::empty_host:
        return "the host is empty";
      case resolve_errc::host_too_long:
        return "the host is longer than 253 bytes";
      case resolve_errc::bad_host:
        return "the host contains a control character";
      case resolve_errc::bad_port:
        return "the port is neither a number from 0 to 65535 nor the name of a service";
    }
    return "unknown error of a resolver";
  }
  std::error_condition default_error_condition(int value) const noexcept override {
    switch (static_cast<resolve_errc>(value)) {
      case resolve_errc::try_again:
        return std::errc::resource_unavailable_try_again;
      case resolve_errc::empty_host:
      case resolve_errc::host_too_long:
      case resolve_errc::bad_host:
      case resolve_errc::bad_port:
        return std::errc::invalid_argument;
      default:
        return {value, *this};
    }
  }
};

// By the unsigned value: on some platforms `char` has no sign, on others Latin letters are
// negative.
bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::error_code check_host(std::string_view host) noexcept {
  if (host.empty()) return resolve_errc::empty_host;
  if (host.size() > 253 + (host.ends_with('.') ? 1 : 0)) return resolve_errc::host_too_long;
  if (std::any_of(host.begin(), host.end(), is_control)) return resolve_errc::bad_host;
  return {};
}

// getaddrinfo would take -1, and cut 65536 down to 0.
std::error_code check_service(std::string_view service) noexcept {
  if (service.empty()) return {};
  if (!std::all_of(service.begin(), service.end(), is_digit)) {
    const bool name = std::all_of(service.begin(), service.end(),
                                  [](char c) { return !is_control(c) && c != ' '; });
    return name && service[0] != '-' && service[0] != '+' && service.size() <= 64
               ? std::error_code()
               : resolve_errc::bad_port;
  }
  return io::port_of(service) ? std::error_code() : resolve_errc::bad_port;
}

// What needs nobody to be asked.
std::optional<endpoint> as_number(const std::string& host, std::string_view service) noexcept {
  const auto port = service.empty() ? std::uint16_t{0} : io::port_of(service);
  if (!port) return {};
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(*port);
  if (::inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1)
    return endpoint::from_native(&four, sizeof four);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(*port);
  if (::inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1)
    return endpoint::from_native(&six, sizeof six);
  return {};
}

// Parks until the answer is there. Cancelled, it leaves the question to the thread that has it.
void await(io::question& q) {
  for (;;) {
    q.lock.lock();
    if (q.done) return q.lock.unlock();
    sched::wait_node node;
    const sched::outcome how =
        sched::wait_in(q.waiting, q.lock, node, {.kind = sched::wait_kind::resolve}, sched::never);
    if (how != sched::outcome::cancelled) continue;
    io::forget(q);
    sched::throw_cancelled(*sched::current_host().running);
  }
}

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const category the_one;
  return the_one;
}

namespace io {

std::optional<std::uint16_t> port_of(std::string_view digits) noexcept {
  std::uint16_t port = 0;
  const char* const end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, port);
  if (at != end || error != std::errc()) return {};
  return port;
}

std::string quoted(std::string_view text) {
  std::string shown = "\"";
  for (const char c : text.substr(0, 100)) shown += is_control(c) ? '?' : c;
  return shown + (text.size() > 100 ? "...\"" : "\"");
}

}  // namespace io

// Throws std::system_error if no thread can be had to ask.
static std::vector<endpoint> answers_to(std::string_view host, std::string_view service,
                                        std::error_code& error) {
  {
    io::io_call permitted;
    if (!permitted.enter_foreign(-1, sched::wait_kind::resolve, error)) return {};
  }
  error = check_host(host);
  if (!error) error = check_service(service);
  if (error) return {};
  auto q = std::make_shared<io::question>(host, service);
  if (const auto number = as_number(q->host, service)) return {*number};
  io::ask(q);
  await(*q);
  error = q->error;
  return std::move(q->answers);
}

std::vector<endpoint> resolve(std::string_view host, std::string_view service,
                              std::error_code& error) try {
  return answers_to(host, service, error);
} catch (const std::system_error& e) {
  error = e.code();
  return {};
}
std::vector<endpoint> resolve(std::string_view host, std::string_view service) {
  std::error_code error;
  auto answers = answers_to(host, service, error);
  if (error)
    io::throw_error(error,
                    "coir: resolve " + io::quoted(host) + ", service " + io::quoted(service));
  return answers;
}

}  // namespace coir
