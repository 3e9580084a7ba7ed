#include <coir/io/descriptor_stream.hpp>

#include <coir/io/errors.hpp>

#include "transfer.hpp"

namespace coir {

std::size_t descriptor_stream::read_some(std::span<std::byte> into, std::error_code& error) {
  return io::receive_some(handle_.get(), into, error);
}
std::size_t descriptor_stream::read_some(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_some(into, error);
  io::check(error, "coir: read");
  return n;
}

std::size_t descriptor_stream::read_exactly(std::span<std::byte> into, std::error_code& error) {
  return io::receive_exactly(handle_.get(), into, error);
}
void descriptor_stream::read_exactly(std::span<std::byte> into) {
  std::error_code error;
  const std::size_t n = read_exactly(into, error);
  if (error == stream_errc::incomplete_read) throw incomplete_read(n, into.size());
  io::check(error, "coir: read");
}

std::size_t descriptor_stream::write_some(std::span<const std::byte> from, std::error_code& error) {
  return io::send_some(handle_.get(), from, error);
}
std::size_t descriptor_stream::write_some(std::span<const std::byte> from) {
  std::error_code error;
  const std::size_t n = write_some(from, error);
  io::check(error, "coir: write");
  return n;
}

std::size_t descriptor_stream::write(std::span<const std::byte> from, std::error_code& error) {
  return io::send_all(handle_.get(), from, error);
}
void descriptor_stream::write(std::span<const std::byte> from) {
  std::error_code error;
  write(from, error);
  io::check(error, "coir: write");
}
std::size_t descriptor_stream::write(std::span<const std::span<const std::byte>> from,
                                 std::error_code& error) {
  return io::send_all(handle_.get(), from, error);
}
void descriptor_stream::write(std::span<const std::span<const std::byte>> from) {
  std::error_code error;
  write(from, error);
  io::check(error, "coir: write");
}

void descriptor_stream::set_deadline(bool reading, clock::time_point when) {
  io::descriptor* d = handle_.get();
  if (d != nullptr) io::set_deadline(*d, reading ? d->reading : d->writing, when);
}

std::uint64_t descriptor_stream::bytes_read() const noexcept {
  const io::descriptor* d = handle_.get();
  return d == nullptr ? 0 : d->reading.bytes.load(std::memory_order_relaxed);
}
std::uint64_t descriptor_stream::bytes_written() const noexcept {
  const io::descriptor* d = handle_.get();
  return d == nullptr ? 0 : d->writing.bytes.load(std::memory_order_relaxed);
}

}  // namespace coir
