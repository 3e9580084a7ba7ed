// What TLS connections of one kind share: certificates, whom to trust, protocols, sessions.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <coir/sched/clock.hpp>

namespace coir {

namespace io {
struct tls_settings;
}

// TLS 1.2 and 1.3, without compression and renegotiation. Set it up first (one user at a time, on a
// fiber or a plain thread; nothing waits, but files are read), then any fibers use it at once. The
// streams made with it keep what they need of it. Calls that read files have a second form that
// takes an std::error_code& last.
class tls_context {
 public:
  tls_context() noexcept = default;  // of no use until it is assigned to

  // Verifies servers: a chain to a certificate of the system's store (OpenSSL's; SSL_CERT_FILE and
  // SSL_CERT_DIR name another) or of add_trusted(), and the host's name or address in the
  // certificate's subjectAltName (RFC 9525; the common name is not looked at). Keeps the sessions
  // that servers offer, and resumes them with the same host. Reading the store takes tens of
  // milliseconds: make one context for many connections.
  static tls_context client();

  // PEM files: the certificate with its chain, leaf first, and its key, without a passphrase.
  // Throws std::system_error that names the file and says what is wrong: the kernel's error if it
  // cannot be read, tls_errc::bad_credentials if it is no PEM, or the key of another certificate.
  static tls_context server(const std::filesystem::path& certificate_chain,
                            const std::filesystem::path& private_key);
  static tls_context server(const std::filesystem::path& certificate_chain,
                            const std::filesystem::path& private_key, std::error_code&);

  // What it shows of itself, as in server(): for clients that servers ask for it.
  void set_certificate(const std::filesystem::path& certificate_chain,
                       const std::filesystem::path& private_key);
  void set_certificate(const std::filesystem::path& certificate_chain,
                       const std::filesystem::path& private_key, std::error_code&);

  // Trusts the certificates in a PEM file, besides those that it trusts already. Errors as above.
  void add_trusted(const std::filesystem::path& pem);
  void add_trusted(const std::filesystem::path& pem, std::error_code&);

  // A client: whether servers are verified; without it anybody can be in between. A server: whether
  // clients have to show a certificate that add_trusted() knows; the default is that they need not.
  void set_verify(bool);

  // ALPN (RFC 7301), the most wanted first; a server's order counts. A client that has no protocol
  // in common with the server is refused. Throws std::invalid_argument: a name is 1 to 255 bytes.
  void set_alpn(const std::vector<std::string>& protocols);

  // How long a handshake may take, from the call of connect or accept; after it errc::timed_out.
  // The default is 60 s, as asyncio's.
  template <class Rep, class Period>
  void set_handshake_timeout(std::chrono::duration<Rep, Period> d) {
    set_handshake_limit(sched::saturated(d));
  }

  // After so many records a stream of TLS 1.3 changes its sending key, and asks the peer to. The
  // default, 2^23, is below what AES-GCM may encrypt under one key (RFC 8446, 5.5).
  void set_key_update_interval(std::uint64_t records);

  const std::shared_ptr<io::tls_settings>& settings() const noexcept { return settings_; }

 private:
  void set_handshake_limit(clock::duration);
  io::tls_settings& checked() const;  // throws std::invalid_argument: a default-constructed one

  std::shared_ptr<io::tls_settings> settings_;
};

}  // namespace coir
