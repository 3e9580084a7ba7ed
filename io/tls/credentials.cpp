#include "credentials.hpp"

#include <cstdio>
#include <optional>
#include <vector>

#include <openssl/pem.h>

#include <coir/io/tls_errors.hpp>

namespace coir::io {
namespace {

using path = std::filesystem::path;
using bio_ptr = openssl_ptr<BIO, &BIO_free>;

credential_error bad(const char* what, const path& file, const std::string& why) {
  return {make_error_code(tls_errc::bad_credentials),
          std::string(what) + " \"" + file.string() + "\": " + why};
}

// OpenSSL would ask at the terminal for a passphrase.
int no_passphrase(char*, int, int, void* asked) {
  if (asked != nullptr) *static_cast<bool*>(asked) = true;
  return -1;
}

bio_ptr bio_over(const std::string& text) {
  return bio_ptr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// The reason for OpenSSL's last failure, in words for who wrote the file.
std::string reason(const char* wanted) {
  const unsigned long code = ERR_peek_last_error();
  const bool of_pem = ERR_GET_LIB(code) == ERR_LIB_PEM;
  const int why = ERR_GET_REASON(code);
  const char* const text = ERR_reason_error_string(code);
  ERR_clear_error();
  if (of_pem && why == PEM_R_NO_START_LINE) return std::string("no PEM ") + wanted + " in it";
  return std::string("a PEM ") + wanted +
         " that cannot be read: " + (text != nullptr ? text : "unknown");
}

// Every certificate of the file; none: `error` says why.
std::vector<certificate_ptr> certificates(const std::string& text, const char* what,
                                          const path& file, credential_error& error) {
  std::vector<certificate_ptr> all;
  const bio_ptr in = bio_over(text);
  ERR_clear_error();
  while (certificate_ptr c{PEM_read_bio_X509_AUX(in.get(), nullptr, &no_passphrase, nullptr)})
    all.push_back(std::move(c));
  const bool at_the_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (all.empty() || !at_the_end) {
    error = bad(what, file, reason("certificate"));
    all.clear();
  }
  ERR_clear_error();
  return all;
}

// OpenSSL reads it, because it keeps the kernel's error.
std::optional<std::string> contents(const char* what, const path& file, credential_error& error) {
  ERR_clear_error();
  const bio_ptr in(BIO_new_file(file.c_str(), "re"));
  std::string text;
  char buffer[4096];
  int n = -1;
  while (in != nullptr && (n = BIO_read(in.get(), buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<std::size_t>(n));
  if (n == 0) return text;
  error.code = take_openssl_error(std::make_error_code(std::errc::io_error));
  error.text = std::string(what) + " \"" + file.string() + "\"";
  return std::nullopt;
}

credential_error use_chain(SSL_CTX* context, const path& file) {
  constexpr auto what = "certificate chain";
  credential_error error;
  const auto text = contents(what, file, error);
  if (!text) return error;
  auto chain = certificates(*text, what, file, error);
  if (chain.empty()) return error;
  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1)
    return bad(what, file, reason("certificate"));
  SSL_CTX_clear_chain_certs(context);
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (SSL_CTX_add0_chain_cert(context, chain[i].get()) != 1)
      return bad(what, file, reason("certificate"));
    chain[i].release();  // the context's now
  }
  return {};
}

credential_error use_key(SSL_CTX* context, const path& chain, const path& file) {
  constexpr auto what = "private key";
  credential_error error;
  const auto text = contents(what, file, error);
  if (!text) return error;
  if (text->find("PRIVATE KEY-----") == text->npos)
    return bad(what, file, "no PEM private key in it");
  ERR_clear_error();
  const bio_ptr in = bio_over(*text);
  bool asked = false;
  const key_ptr key(PEM_read_bio_PrivateKey(in.get(), nullptr, &no_passphrase, &asked));
  if (asked) return ERR_clear_error(), bad(what, file, "it is encrypted; remove the passphrase");
  if (key == nullptr) return bad(what, file, reason("private key"));
  X509* const leaf = SSL_CTX_get0_certificate(context);
  const bool pair = X509_check_private_key(leaf, key.get()) == 1 &&
                    SSL_CTX_use_PrivateKey(context, key.get()) == 1;
  ERR_clear_error();
  if (!pair) return bad(what, file, "not the key of the certificate in \"" + chain.string() + "\"");
  return {};
}

}  // namespace

credential_error use_certificate(SSL_CTX* context, const path& chain, const path& key) {
  credential_error error = use_chain(context, chain);
  return error.code ? error : use_key(context, chain, key);
}

credential_error trust(SSL_CTX* context, const path& pem) {
  constexpr auto what = "trusted certificates";
  credential_error error;
  const auto text = contents(what, pem, error);
  if (!text) return error;
  const auto all = certificates(*text, what, pem, error);
  for (const auto& c : all)
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), c.get()) != 1)
      return bad(what, pem, reason("certificate"));
  return error;
}

}  // namespace coir::io
