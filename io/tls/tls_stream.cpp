#include <coir/io/tls_stream.hpp>

#include <stdexcept>

#include <coir/io/errors.hpp>
#include <coir/io/socket_stream.hpp>
#include <coir/sched/timeout.hpp>

#include "tls_core.hpp"

namespace coir {
namespace io {

tls_transport::~tls_transport() = default;

namespace {

using core_ptr = std::shared_ptr<tls_core>;

std::error_code closed() { return std::make_error_code(std::errc::bad_file_descriptor); }

// Fibers of guest schedulers have no timeouts; on plain threads the handshake refuses.
void handshake_in_time(tls_core& core, clock::duration limit, std::error_code& error) {
  if (!sched::on_fiber()) {
    const clock::time_point end = sched::deadline_after(limit);
    for (const bool reading : {true, false}) core.set_deadline(reading, end);
    core.handshake(error);
    for (const bool reading : {true, false}) core.set_deadline(reading, sched::never);
    return;
  }
  try {
    with_timeout(limit, [&] { core.handshake(error); });
  } catch (const timed_out&) {
    error = std::make_error_code(std::errc::timed_out);
  }
}

// Null: `error`, and the transport is closed.
core_ptr shake_hands(std::unique_ptr<tls_transport> transport, const tls_context& context,
                     bool as_server, const tls_peer& peer, std::error_code& error) {
  const auto& settings = context.settings();
  if (settings == nullptr || settings->is_server != as_server)
    throw std::invalid_argument(as_server
                                    ? "coir: tls_stream::accept takes tls_context::server()"
                                    : "coir: tls_stream::connect takes tls_context::client()");
  auto core = std::make_shared<tls_core>(std::move(transport), settings, peer);
  handshake_in_time(*core, settings->handshake_limit, error);
  return error ? nullptr : core;
}

}  // namespace
}  // namespace io

tls_stream tls_stream::connect_over(transport t, const tls_context& c, std::string_view host,
                                    std::error_code& error) {
  return tls_stream(io::shake_hands(std::move(t), c, false, io::parse_peer(host), error));
}
tls_stream tls_stream::connect_over(transport t, const tls_context& c, std::string_view host) {
  std::error_code error;
  tls_stream s = connect_over(std::move(t), c, host, error);
  if (error) io::throw_error(error, "coir: TLS handshake with \"" + std::string(host) + "\"");
  return s;
}

tls_stream tls_stream::accept_over(transport t, const tls_context& c, std::error_code& error) {
  return tls_stream(io::shake_hands(std::move(t), c, true, {}, error));
}
tls_stream tls_stream::accept_over(transport t, const tls_context& c) {
  std::error_code error;
  tls_stream s = accept_over(std::move(t), c, error);
  io::check(error, "coir: TLS handshake with a client");
  return s;
}

tls_stream& tls_stream::operator=(tls_stream&& other) noexcept {
  if (this != &other) {
    close();
    core_ = std::move(other.core_);
  }
  return *this;
}

std::size_t tls_stream::read_some(std::span<std::byte> into, std::error_code& error) {
  const io::core_ptr core = core_;  // until the call has left, though the stream may go before
  return core == nullptr ? (error = io::closed(), 0) : core->read_some(into, error);
}
std::size_t tls_stream::read_some(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_some(into, error);
  io::check(error, "coir: TLS read");
  return n;
}

std::size_t tls_stream::read_exactly(std::span<std::byte> into, std::error_code& error) {
  const io::core_ptr core = core_;
  return core == nullptr ? (error = io::closed(), 0) : core->read_exactly(into, error);
}
void tls_stream::read_exactly(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_exactly(into, error);
  if (error == stream_errc::incomplete_read) throw incomplete_read(n, into.size());
  io::check(error, "coir: TLS read");
}

std::size_t tls_stream::write_some(std::span<const std::byte> from, std::error_code& error) {
  const io::core_ptr core = core_;
  return core == nullptr ? (error = io::closed(), 0) : core->write_some(from, error);
}
std::size_t tls_stream::write_some(std::span<const std::byte> from) {
  std::error_code error;
  const std::size_t n = write_some(from, error);
  io::check(error, "coir: TLS write");
  return n;
}

std::size_t tls_stream::write(std::span<const std::span<const std::byte>> from,
                              std::error_code& error) {
  const io::core_ptr core = core_;
  return core == nullptr ? (error = io::closed(), 0) : core->write(from, error);
}
void tls_stream::write(std::span<const std::span<const std::byte>> from) {
  std::error_code error;
  write(from, error);
  io::check(error, "coir: TLS write");
}
std::size_t tls_stream::write(std::span<const std::byte> from, std::error_code& error) {
  return write(std::span<const std::span<const std::byte>>(&from, 1), error);
}
void tls_stream::write(std::span<const std::byte> from) {
  write(std::span<const std::span<const std::byte>>(&from, 1));
}

void tls_stream::shutdown_write(std::error_code& error) {
  const io::core_ptr core = core_;
  core == nullptr ? void(error = io::closed()) : core->shutdown_write(error);
}
void tls_stream::shutdown_write() {
  std::error_code error;
  shutdown_write(error);
  io::check(error, "coir: TLS shutdown_write");
}

void tls_stream::set_deadline(bool reading, clock::time_point t) {
  if (core_ != nullptr) core_->set_deadline(reading, t);
}

std::uint64_t tls_stream::bytes_read() const noexcept {
  return core_ == nullptr ? 0 : core_->bytes_read();
}
std::uint64_t tls_stream::bytes_written() const noexcept {
  return core_ == nullptr ? 0 : core_->bytes_written();
}

void tls_stream::close() noexcept {
  if (core_ != nullptr) core_->transport().close();
}
bool tls_stream::is_open() const noexcept {
  return core_ != nullptr && core_->transport().is_open();
}

endpoint tls_stream::local(std::error_code& error) const {
  if (core_ == nullptr) return error = io::closed(), endpoint();
  return core_->transport().local(error);
}
endpoint tls_stream::local() const {
  std::error_code error;
  const endpoint e = local(error);
  io::check(error, "coir: TLS local");
  return e;
}
endpoint tls_stream::remote(std::error_code& error) const {
  if (core_ == nullptr) return error = io::closed(), endpoint();
  return core_->transport().remote(error);
}
endpoint tls_stream::remote() const {
  std::error_code error;
  const endpoint e = remote(error);
  io::check(error, "coir: TLS remote");
  return e;
}

std::string tls_stream::alpn() const { return core_ == nullptr ? std::string() : core_->alpn(); }
std::string tls_stream::version() const {
  return core_ == nullptr ? std::string() : core_->version();
}
bool tls_stream::resumed() const { return core_ != nullptr && core_->resumed(); }

}  // namespace coir
