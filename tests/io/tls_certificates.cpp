#include "tls_certificates.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

// OpenSSL is not built for the sanitizer, which sees what it frees, but not its reference counts.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:OPENSSL_sk_*\nrace:CRYPTO_free\n";
}

namespace coir::testing {
namespace {

using path = std::filesystem::path;

// Of a process with these tests the system's store is empty: it has nothing to say to them, and
// takes long to read.
[[maybe_unused]] const bool store_is_empty =
    ::setenv("SSL_CERT_FILE", "/dev/null", 1) == 0 && ::setenv("SSL_CERT_DIR", "/dev/null", 1) == 0;

// Before OpenSSL's first allocation, or it refuses; then -1 blocks say that nobody counts.
std::atomic<long> blocks{0};
const bool counted = CRYPTO_set_mem_functions(
                         [](std::size_t n, const char*, int) -> void* {
                           if (n != 0) ++blocks;
                           return n == 0 ? nullptr : std::malloc(n);
                         },
                         [](void* p, std::size_t n, const char*, int) -> void* {
                           if (p == nullptr && n != 0) ++blocks;
                           if (p != nullptr && n == 0) --blocks;
                           if (n != 0) return std::realloc(p, n);
                           return std::free(p), nullptr;
                         },
                         [](void* p, const char*, int) {
                           if (p != nullptr) --blocks;
                           std::free(p);
                         }) == 1;

void must(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("OpenSSL: ") + what);
}

struct identity {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  identity() = default;
  identity(const identity&) = delete;
  identity& operator=(const identity&) = delete;
  ~identity() {
    EVP_PKEY_free(key);
    X509_free(certificate);
  }
};

void add_extension(X509* of, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, of, nullptr, nullptr, 0);
  X509_EXTENSION* const e = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  must(e != nullptr, value.c_str());
  X509_add_ext(of, e, -1);
  X509_EXTENSION_free(e);
}

void name_it(X509_NAME* name, const std::string& common_name) {
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
}

// Signed by `issuer`, or by itself.
void make(identity& made, const certificate_wish& wish, bool authority, const identity* issuer) {
  static long serial = 100;
  const EVP_PKEY* none = nullptr;
  made.key = EVP_EC_gen("P-256");
  must(made.key != none, "key");
  made.certificate = X509_new();
  X509* const c = made.certificate;
  X509_set_version(c, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(c), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(c), wish.days_from * 86400L);
  X509_gmtime_adj(X509_getm_notAfter(c), wish.days_to * 86400L);
  X509_set_pubkey(c, made.key);
  name_it(X509_get_subject_name(c), wish.common_name);
  X509* const by = issuer != nullptr ? issuer->certificate : c;
  X509_set_issuer_name(c, X509_get_subject_name(by));
  add_extension(c, by, NID_basic_constraints, authority ? "critical,CA:TRUE" : "CA:FALSE");
  if (authority) add_extension(c, by, NID_key_usage, "critical,keyCertSign,cRLSign");
  std::string hosts;
  for (const std::string& h : wish.hosts) hosts += (hosts.empty() ? "" : ",") + h;
  if (!hosts.empty()) add_extension(c, by, NID_subject_alt_name, hosts);
  must(X509_sign(c, issuer != nullptr ? issuer->key : made.key, EVP_sha256()) != 0, "signature");
}

void write_pem(const path& file, const std::vector<X509*>& certificates, EVP_PKEY* key) {
  std::FILE* const f = std::fopen(file.c_str(), "we");
  must(f != nullptr, file.c_str());
  for (X509* c : certificates) PEM_write_X509(f, c);
  if (key != nullptr) PEM_write_PrivateKey(f, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(f);
}

}  // namespace

const certificate_folder& certificate_folder::get() {
  static const certificate_folder folder;
  return folder;
}

certificate_folder::certificate_folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "coir-tls-XXXXXX").string();
  must(::mkdtemp(pattern.data()) != nullptr, "folder");
  folder_ = pattern;
  identity root, intermediate;
  make(root, {.name = "root", .hosts = {}, .common_name = "coir test root"}, true, nullptr);
  make(intermediate, {.name = "mid", .hosts = {}, .common_name = "coir test intermediate"}, true,
       &root);
  authority = folder_ / "authority.pem";
  write_pem(authority, {root.certificate}, nullptr);

  const auto leaf = [&](const certificate_wish& wish) {
    identity made;
    const identity* const issuer = wish.by_intermediate ? &intermediate : &root;
    make(made, wish, false, wish.self_signed ? nullptr : issuer);
    credentials files{folder_ / (wish.name + ".pem"), folder_ / (wish.name + ".key")};
    std::vector<X509*> chain{made.certificate};
    if (wish.by_intermediate) chain.push_back(intermediate.certificate);
    write_pem(files.chain, chain, nullptr);
    write_pem(files.key, {}, made.key);
    return files;
  };
  const std::vector<std::string> local{"DNS:localhost"};
  good = leaf(
      {.name = "good", .hosts = {"DNS:localhost", "DNS:*.coir.test", "IP:127.0.0.1", "IP:::1"}});
  through_intermediate = leaf({.name = "middle", .hosts = local, .by_intermediate = true});
  other_host = leaf({.name = "other", .hosts = {"DNS:other.test"}});
  only_common_name = leaf({.name = "common", .hosts = {}, .common_name = "localhost"});
  expired = leaf({.name = "expired", .hosts = local, .days_from = -3, .days_to = -1});
  not_yet = leaf({.name = "not_yet", .hosts = local, .days_from = 1, .days_to = 2});
  self_signed = leaf({.name = "self", .hosts = local, .self_signed = true});
  client = leaf({.name = "client", .hosts = {"DNS:client.test"}});
}

long openssl_blocks() { return counted ? blocks.load() : -1; }

certificate_folder::~certificate_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

path certificate_folder::write(const std::string& name, const std::string& content) const {
  const path file = folder_ / name;
  std::FILE* const f = std::fopen(file.c_str(), "we");
  must(f != nullptr, file.c_str());
  std::fwrite(content.data(), 1, content.size(), f);
  std::fclose(f);
  return file;
}

}  // namespace coir::testing
