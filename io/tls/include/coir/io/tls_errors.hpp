// What TLS reports that the kernel has no number for.
#pragma once
#include <system_error>

namespace coir {

// Codes of tls_category() are OpenSSL's own, with their texts; they compare equal to one of these:
//   catch (const std::system_error& e) { if (e.code() == coir::tls_errc::certificate_rejected) ...
enum class tls_errc {
  // The peer's certificate: expired, for another host, self-signed, of an authority that nobody
  // trusts. The text says which.
  certificate_rejected = 1,
  // What the peer sent is no TLS, or breaks its rules; no version or cipher in common; an alert.
  protocol_violated = 2,
  // An earlier write ended within a record (a deadline, a cancellation): nothing can follow it.
  write_interrupted = 3,
  // A file holds no certificate or key that can be used.
  bad_credentials = 4,
};
const std::error_category& tls_category() noexcept;
inline std::error_condition make_error_condition(tls_errc e) noexcept {
  return {static_cast<int>(e), tls_category()};
}
inline std::error_code make_error_code(tls_errc e) noexcept {
  return {static_cast<int>(e), tls_category()};
}

}  // namespace coir

template <>
struct std::is_error_condition_enum<coir::tls_errc> : std::true_type {};
