#include <coir/io/tls_context.hpp>

#include <new>
#include <stdexcept>

#include <coir/io/socket_stream.hpp>
#include <coir/io/tls_errors.hpp>

#include "credentials.hpp"
#include "tls_engine.hpp"
#include "tls_settings.hpp"

namespace coir {
namespace {

using path = std::filesystem::path;

int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size,
                    const unsigned char* offered, unsigned offered_size, void* of) noexcept {
  const std::string& ours = static_cast<io::tls_settings*>(of)->alpn;
  unsigned char* found = nullptr;
  const int result =
      SSL_select_next_proto(&found, size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered, offered_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;  // RFC 7301, 3.2
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

void set_up(io::tls_settings& s) {
  SSL_CTX* const c = s.context.get();
  SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
  SSL_CTX_set_options(
      c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Buffers of records are given back while the stream is idle: 34 KiB a connection.
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
  if (s.is_server) {  // its sessions live in the tickets that clients keep
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(c, reinterpret_cast<const unsigned char*>("coir"), 4);
    SSL_CTX_set_alpn_select_cb(c, nullptr, nullptr);
  } else {
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c, &io::tls_engine::keep_session);
  }
}

std::shared_ptr<io::tls_settings> make_settings(const SSL_METHOD* method, bool is_server) {
  auto s = std::make_shared<io::tls_settings>();
  s->is_server = is_server;
  s->context.reset(SSL_CTX_new(method));
  if (s->context == nullptr) throw std::bad_alloc();
  set_up(*s);
  return s;
}

void check(const io::credential_error& e) {
  if (e.code) io::throw_error(e.code, "coir: " + e.text);
}

}  // namespace

tls_context tls_context::client() {
  return io::with_openssl_stack([] {
    tls_context c;
    c.settings_ = make_settings(TLS_client_method(), false);
    SSL_CTX_set_default_verify_paths(c.settings_->context.get());
    ERR_clear_error();  // a store that is not there trusts nobody
    c.set_verify(true);
    return c;
  });
}

tls_context tls_context::server(const path& chain, const path& key) {
  tls_context c;
  c.settings_ = io::with_openssl_stack([] { return make_settings(TLS_server_method(), true); });
  c.set_certificate(chain, key);
  return c;
}
tls_context tls_context::server(const path& chain, const path& key, std::error_code& error) {
  tls_context c;
  c.settings_ = io::with_openssl_stack([] { return make_settings(TLS_server_method(), true); });
  c.set_certificate(chain, key, error);
  return error ? tls_context() : std::move(c);
}

io::tls_settings& tls_context::checked() const {
  if (settings_ == nullptr)
    throw std::invalid_argument("coir: a tls_context that is neither client() nor server()");
  return *settings_;
}

void tls_context::set_certificate(const path& chain, const path& key) {
  SSL_CTX* const c = checked().context.get();
  check(io::with_openssl_stack([&] { return io::use_certificate(c, chain, key); }));
}
void tls_context::set_certificate(const path& chain, const path& key, std::error_code& error) {
  SSL_CTX* const c = checked().context.get();
  error = io::with_openssl_stack([&] { return io::use_certificate(c, chain, key); }).code;
}

void tls_context::add_trusted(const path& pem) {
  SSL_CTX* const c = checked().context.get();
  check(io::with_openssl_stack([&] { return io::trust(c, pem); }));
}
void tls_context::add_trusted(const path& pem, std::error_code& error) {
  SSL_CTX* const c = checked().context.get();
  error = io::with_openssl_stack([&] { return io::trust(c, pem); }).code;
}

void tls_context::set_verify(bool verify) {
  io::tls_settings& s = checked();
  const int of_server = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  const int mode = s.is_server ? of_server : SSL_VERIFY_PEER;
  SSL_CTX_set_verify(s.context.get(), verify ? mode : SSL_VERIFY_NONE, nullptr);
  s.verifies = verify;
  s.sessions.begin_era();
}

void tls_context::set_alpn(const std::vector<std::string>& protocols) {
  io::tls_settings& s = checked();
  std::string wire;
  for (const std::string& p : protocols) {
    if (p.empty() || p.size() > 255)
      throw std::invalid_argument("coir: \"" + p + "\" is no ALPN protocol: 1 to 255 bytes");
    wire += static_cast<char>(p.size());
    wire += p;
  }
  if (wire.size() > 65535) throw std::invalid_argument("coir: too many ALPN protocols");
  SSL_CTX* const c = s.context.get();
  const auto* const bytes = reinterpret_cast<const unsigned char*>(wire.data());
  if (s.is_server)
    SSL_CTX_set_alpn_select_cb(c, wire.empty() ? nullptr : &choose_protocol, &s);
  else if (SSL_CTX_set_alpn_protos(c, bytes, static_cast<unsigned>(wire.size())) != 0)
    throw std::bad_alloc();
  s.alpn = std::move(wire);
  s.sessions.begin_era();
}

void tls_context::set_handshake_limit(clock::duration d) { checked().handshake_limit = d; }
void tls_context::set_key_update_interval(std::uint64_t records) {
  if (records == 0) throw std::invalid_argument("coir: a key update after 0 records");
  checked().key_update_interval = records;
}

}  // namespace coir
