// Certificates and keys from PEM files.
#pragma once
#include <filesystem>
#include <string>
#include <system_error>

#include "openssl.hpp"

namespace coir::io {

// What went wrong, for the code and for the text; empty: nothing did.
struct credential_error {
  std::error_code code;
  std::string text;  // names the file and the reason
};

credential_error use_certificate(SSL_CTX*, const std::filesystem::path& chain,
                                 const std::filesystem::path& key);
credential_error trust(SSL_CTX*, const std::filesystem::path& pem);

}  // namespace coir::io
