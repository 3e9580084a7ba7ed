// Names to addresses, as the system resolves them.
#pragma once
#include <string_view>
#include <system_error>
#include <vector>

#include <coir/io/endpoint.hpp>

namespace coir {

// Why a name gave no address. What the system has an errno for is reported as that.
enum class resolve_errc {
  host_not_found = 1,  // there is no such name
  no_address,          // there is, and it has no address
  try_again,           // no name server answered, or it has a problem that may pass
  refused,             // the name server will not answer
  unknown_service,     // no port is known for the service
  empty_host,
  host_too_long,  // over 253 bytes
  bad_host,       // contains a control character, NUL among them
  bad_port,       // no number from 0 to 65535, and no service's name
};
const std::error_category& resolve_category() noexcept;
inline std::error_code make_error_code(resolve_errc e) noexcept {
  return {static_cast<int>(e), resolve_category()};
}

// The addresses of a host, each once, the best first (RFC 6724), with the port of the service: a
// number or a name ("80", "http"); "" for port 0. Asks getaddrinfo, which goes by nsswitch.conf,
// the hosts file and DNS, and keeps nothing; a numeric address is answered at once. The fiber
// parks, other fibers run; cancelled, it returns at once, and a late answer is dropped. 32 names at
// most are asked for at a time, more wait. Throws std::system_error (resolve_errc;
// operation_not_permitted: not on a fiber) and coir::cancelled. A fiber.
std::vector<endpoint> resolve(std::string_view host, std::string_view service);
std::vector<endpoint> resolve(std::string_view host, std::string_view service, std::error_code&);

}  // namespace coir

template <>
struct std::is_error_code_enum<coir::resolve_errc> : std::true_type {};
