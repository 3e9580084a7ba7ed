#include "tls_engine.hpp"

#include <new>
#include <stdexcept>

#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include <coir/io/tls_errors.hpp>

#include "engine_bio.hpp"

namespace coir::io {
namespace {

constexpr std::size_t first_input = 4 * 1024;  // what an idle connection keeps
constexpr std::size_t whole_record = 17 * 1024;

bool is_literal(const std::string& host) noexcept {
  unsigned char address[16];
  return inet_pton(AF_INET, host.c_str(), address) == 1 ||
         inet_pton(AF_INET6, host.c_str(), address) == 1;
}

bool is_rejected_certificate(const std::error_code& e) noexcept {
  const auto code = static_cast<unsigned long>(static_cast<unsigned>(e.value()));
  return e.category() == tls_category() && ERR_GET_LIB(code) == ERR_LIB_SSL &&
         ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
}

std::invalid_argument bad_host(std::string_view host, const char* why) {
  return std::invalid_argument("coir: \"" + std::string(host) + "\" is no host for TLS: " + why);
}

}  // namespace

tls_peer parse_peer(std::string_view text) {
  std::string_view bare = text;
  if (bare.starts_with('[') && bare.ends_with(']')) bare = bare.substr(1, bare.size() - 2);
  if (bare.find(':') != bare.npos) bare = bare.substr(0, bare.find('%'));
  if (bare.ends_with('.')) bare.remove_suffix(1);
  tls_peer peer;
  for (const char c : bare) {
    if (c <= ' ' || c > '~') throw bad_host(text, "write it in ASCII, as xn--");
    peer.host += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  peer.is_address = is_literal(peer.host);
  if (peer.host.size() > 255) throw bad_host(text, "too long");
  return peer;
}

tls_engine::tls_engine(std::shared_ptr<tls_settings> settings, const tls_peer& peer)
    : settings_(std::move(settings)), under_key_(0) {
  with_openssl_stack([&] {
    ERR_clear_error();
    ssl_.reset(SSL_new(settings_->context.get()));
    if (ssl_ == nullptr) throw std::bad_alloc();
    BIO* const both = make_engine_bio(*this);
    SSL_set_bio(ssl_.get(), both, both);
    SSL_set_app_data(ssl_.get(), this);
    if (settings_->is_server) return SSL_set_accept_state(ssl_.get());
    SSL_set_connect_state(ssl_.get());
    expect(peer);
  });
}

// A session that was not shut down counts as one that cannot be resumed. That is a rule of TLS 1.0;
// who read truncated bytes here was told.
tls_engine::~tls_engine() {
  SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

void tls_engine::expect(const tls_peer& peer) {
  host_ = peer.host;
  if (host_.empty()) {
    if (settings_->verifies) throw bad_host(host_, "empty, and it is to be verified");
    return;
  }
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl_.get());
  X509_VERIFY_PARAM_set_hostflags(
      wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  const int ok = peer.is_address ? X509_VERIFY_PARAM_set1_ip_asc(wanted, host_.c_str())
                                 : X509_VERIFY_PARAM_set1_host(wanted, host_.c_str(), host_.size());
  if (!peer.is_address)  // as the macro SSL_set_tlsext_host_name would
    SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host_.data());
  if (ok != 1) throw std::bad_alloc();
  resume();
}

void tls_engine::resume() {
  era_ = settings_->sessions.era();
  if (const session_ptr s = settings_->sessions.take(host_)) SSL_set_session(ssl_.get(), s.get());
  ERR_clear_error();
}

int tls_engine::keep_session(SSL* ssl, SSL_SESSION* session) noexcept {
  const auto& self = *static_cast<tls_engine*>(SSL_get_app_data(ssl));
  if (self.host_.empty() || SSL_SESSION_is_resumable(session) != 1) return 0;
  try {
    SSL_SESSION_up_ref(session);
    self.settings_->sessions.put(self.host_, self.era_, session_ptr(session));
  } catch (const std::bad_alloc&) {  // then it is not resumed
  }
  return 0;  // the caller's own reference stays its
}

// The section that reads the error queue: nothing parks between the call and this.
tls_engine::step tls_engine::conclude(int result, std::error_code& error) {
  if (result > 0) return step::done;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return step::wants_input;
    case SSL_ERROR_ZERO_RETURN:
      return step::ended;
    default:
      break;
  }
  error = take_openssl_error(make_error_code(tls_errc::protocol_violated));
  if (is_rejected_certificate(error)) error = certificate_error(SSL_get_verify_result(ssl_.get()));
  return step::failed;
}

tls_engine::step tls_engine::handshake(std::error_code& error) {
  return with_openssl_stack([&] {
    ERR_clear_error();
    return conclude(SSL_do_handshake(ssl_.get()), error);
  });
}

tls_engine::step tls_engine::read(std::span<std::byte> into, std::size_t& n,
                                  std::error_code& error) {
  return with_openssl_stack([&] {
    n = 0;
    step last = step::done;
    while (last == step::done && n != into.size()) {
      std::size_t more = 0;
      ERR_clear_error();
      last = conclude(SSL_read_ex(ssl_.get(), into.data() + n, into.size() - n, &more), error);
      n += more;
    }
    return last == step::wants_input && n != 0 ? step::done : last;
  });
}

tls_engine::step tls_engine::write(std::span<const std::byte> from, std::error_code& error) {
  return with_openssl_stack([&] {
    update_key_in_time();
    std::size_t n = 0;
    ERR_clear_error();
    return conclude(SSL_write_ex(ssl_.get(), from.data(), from.size(), &n), error);
  });
}

void tls_engine::update_key_in_time() {
  if (++under_key_ <= settings_->key_update_interval || SSL_version(ssl_.get()) < TLS1_3_VERSION)
    return;
  // Refused in the middle of a message of the peer's; then at the next record.
  if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) == 1) under_key_ = 1;
}

void tls_engine::end_writing() {
  with_openssl_stack([&] {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
  });
}

std::span<std::byte> tls_engine::input_room() {
  const bool filled = end_ != 0 && end_ == capacity_;
  if (input_ == nullptr || (filled && capacity_ < whole_record)) {
    const std::size_t wanted = filled ? whole_record : first_input;
    input_ = std::make_unique_for_overwrite<std::byte[]>(wanted);
    capacity_ = wanted;
  }
  begin_ = end_ = 0;
  return {input_.get(), capacity_};
}

std::string tls_engine::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return size == 0 ? std::string() : std::string(reinterpret_cast<const char*>(name), size);
}
std::string tls_engine::version() const { return SSL_get_version(ssl_.get()); }
bool tls_engine::resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

}  // namespace coir::io
