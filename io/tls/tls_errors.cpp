#include <coir/io/tls_errors.hpp>

#include <string>

#include <openssl/x509_vfy.h>

#include "openssl.hpp"

namespace coir {
namespace {

// Values: below this, tls_errc; from it on, X509_V_ERR_...; from the next on, OpenSSL's packed
// codes, whose library number is in the bits above.
constexpr int first_certificate = 0x10000;
constexpr int first_packed = 0x800000;
bool is_certificate(int value) { return value >= first_certificate && value < first_packed; }
bool is_packed(int value) { return value < 0 || value >= first_packed; }

std::string text_of_packed(int value) {
  const auto code = static_cast<unsigned long>(static_cast<unsigned>(value));
  const char* const reason = ERR_reason_error_string(code);
  const bool alert = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= 1000;
  return std::string(alert ? "the peer says: " : "") +
         (reason != nullptr ? reason : "OpenSSL's error " + std::to_string(code));
}

class tls_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "coir.tls"; }

  std::string message(int value) const override {
    if (is_packed(value)) return text_of_packed(value);
    if (is_certificate(value))
      return std::string("the certificate is rejected: ") +
             X509_verify_cert_error_string(value - first_certificate);
    switch (static_cast<tls_errc>(value)) {
      case tls_errc::certificate_rejected:
        return "the certificate is rejected";
      case tls_errc::protocol_violated:
        return "the rules of TLS are violated";
      case tls_errc::write_interrupted:
        return "an earlier write ended within a record";
      case tls_errc::bad_credentials:
        return "no certificate or key that can be used";
    }
    return "unknown TLS error";
  }

  std::error_condition default_error_condition(int value) const noexcept override {
    if (is_packed(value)) return tls_errc::protocol_violated;
    if (is_certificate(value)) return tls_errc::certificate_rejected;
    return {value, *this};
  }
};

}  // namespace

const std::error_category& tls_category() noexcept {
  static const tls_category_type category;
  return category;
}

namespace io {

std::error_code take_openssl_error(std::error_code otherwise) noexcept {
  unsigned long code = ERR_get_error();
  for (unsigned long next = code; next != 0 && ERR_GET_LIB(code) != ERR_LIB_SSL;)
    if (next = ERR_get_error(); ERR_GET_LIB(next) == ERR_LIB_SSL) code = next;
  ERR_clear_error();
  if (code == 0) return otherwise;
  if (ERR_SYSTEM_ERROR(code)) return {ERR_GET_REASON(code), std::system_category()};
  return {static_cast<int>(static_cast<unsigned>(code)), tls_category()};
}

std::error_code certificate_error(long verify_result) noexcept {
  return {first_certificate + static_cast<int>(verify_result), tls_category()};
}

}  // namespace io
}  // namespace coir
