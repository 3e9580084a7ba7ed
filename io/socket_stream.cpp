#include <coir/io/socket_stream.hpp>

#include <cerrno>
#include <string>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <coir/io/errors.hpp>

#include "addresses.hpp"
#include "system_calls.hpp"
#include "transfer.hpp"

namespace coir {

std::size_t socket_stream::read_some(std::span<std::byte> into, std::error_code& error) {
  return io::receive_some(handle_.get(), into, error);
}
std::size_t socket_stream::read_some(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_some(into, error);
  io::check(error, "coir: read");
  return n;
}

std::size_t socket_stream::read_exactly(std::span<std::byte> into, std::error_code& error) {
  return io::receive_exactly(handle_.get(), into, error);
}
void socket_stream::read_exactly(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_exactly(into, error);
  if (error == stream_errc::incomplete_read) throw incomplete_read(n, into.size());
  io::check(error, "coir: read");
}

std::size_t socket_stream::write_some(std::span<const std::byte> from, std::error_code& error) {
  return io::send_some(handle_.get(), from, error);
}
std::size_t socket_stream::write_some(std::span<const std::byte> from) {
  std::error_code error;
  const std::size_t n = write_some(from, error);
  io::check(error, "coir: write");
  return n;
}

std::size_t socket_stream::write(std::span<const std::byte> from, std::error_code& error) {
  return io::send_all(handle_.get(), from, error);
}
void socket_stream::write(std::span<const std::byte> from) {
  std::error_code error;
  write(from, error);
  io::check(error, "coir: write");
}
std::size_t socket_stream::write(std::span<const std::span<const std::byte>> from,
                                 std::error_code& error) {
  return io::send_all(handle_.get(), from, error);
}
void socket_stream::write(std::span<const std::span<const std::byte>> from) {
  std::error_code error;
  write(from, error);
  io::check(error, "coir: write");
}

void socket_stream::set_deadline(bool reading, clock::time_point when) {
  io::descriptor* d = handle_.get();
  if (d != nullptr) io::set_deadline(*d, reading ? d->reading : d->writing, when);
}

std::uint64_t socket_stream::bytes_read() const noexcept {
  const io::descriptor* d = handle_.get();
  return d == nullptr ? 0 : d->reading.bytes.load(std::memory_order_relaxed);
}
std::uint64_t socket_stream::bytes_written() const noexcept {
  const io::descriptor* d = handle_.get();
  return d == nullptr ? 0 : d->writing.bytes.load(std::memory_order_relaxed);
}

void socket_stream::shutdown_write(std::error_code& error) {
  const int result = io::sys::shutdown(handle_.native(), SHUT_WR);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}
void socket_stream::shutdown_write() {
  std::error_code error;
  shutdown_write(error);
  io::check(error, "coir: shutdown_write");
}

endpoint socket_stream::local(std::error_code& error) const {
  return io::local_address(handle_.native(), error);
}
endpoint socket_stream::local() const {
  std::error_code error;
  endpoint e = local(error);
  io::check(error, "coir: local");
  return e;
}
endpoint socket_stream::remote(std::error_code& error) const {
  return io::remote_address(handle_.native(), error);
}
endpoint socket_stream::remote() const {
  std::error_code error;
  endpoint e = remote(error);
  io::check(error, "coir: remote");
  return e;
}

void socket_stream::set_option(int level, int name, int value, std::error_code& error) {
  const int result = io::sys::set_option(handle_.native(), level, name, value);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}

}  // namespace coir
