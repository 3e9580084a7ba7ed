// An encrypted stream over any other.
#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <coir/io/char_range.hpp>
#include <coir/io/endpoint.hpp>
#include <coir/io/stream.hpp>
#include <coir/io/tls_context.hpp>
#include <coir/io/tls_errors.hpp>
#include <coir/io/tls_transport.hpp>
#include <coir/sched/clock.hpp>

namespace coir {

namespace io {
class tls_core;
}

// The calls are tcp_stream's, and promise the same; lengths are those of the plaintext. Every call
// that can fail has two forms: one throws std::system_error, the other takes an std::error_code&
// last. Errors besides the transport's: tls_errc. A peer that ends without a close_notify has been
// cut short: connection_aborted. A write that ends within a record, by a deadline or a
// cancellation, is the last one: those after it give tls_errc::write_interrupted, and reading goes
// on.
class tls_stream {
 public:
  tls_stream() noexcept = default;  // closed
  tls_stream(tls_stream&&) noexcept = default;
  tls_stream& operator=(tls_stream&&) noexcept;
  ~tls_stream() { close(); }

  // Waits for the handshake with a server that proves to be `host`, a name (in ASCII: xn-- for
  // others) or an address; it is sent as SNI, unless it is an address. With the context's timeout:
  // timed_out. A client that verifies needs a host, else std::invalid_argument. What fails closes
  // the transport. A fiber.
  template <byte_stream S>
  static tls_stream connect(S transport, const tls_context& c, std::string_view host) {
    return connect_over(erase(std::move(transport)), c, host);
  }
  template <byte_stream S>
  static tls_stream connect(S transport, const tls_context& c, std::string_view host,
                            std::error_code& error) {
    return connect_over(erase(std::move(transport)), c, host, error);
  }

  // The same for the server's side.
  template <byte_stream S>
  static tls_stream accept(S transport, const tls_context& c) {
    return accept_over(erase(std::move(transport)), c);
  }
  template <byte_stream S>
  static tls_stream accept(S transport, const tls_context& c, std::error_code& error) {
    return accept_over(erase(std::move(transport)), c, error);
  }

  // Waits for some bytes; how many came. 0: the peer's close_notify, or an empty buffer.
  std::size_t read_some(std::span<std::byte> into);
  std::size_t read_some(std::span<std::byte> into, std::error_code&);
  std::size_t read_some(std::span<char> into) { return read_some(std::as_writable_bytes(into)); }
  std::size_t read_some(std::span<char> into, std::error_code& e) {
    return read_some(std::as_writable_bytes(into), e);
  }

  // Fills the buffer, or coir::incomplete_read (stream_errc::incomplete_read).
  void read_exactly(std::span<std::byte> into);
  std::size_t read_exactly(std::span<std::byte> into, std::error_code&);
  void read_exactly(std::span<char> into) { read_exactly(std::as_writable_bytes(into)); }
  std::size_t read_exactly(std::span<char> into, std::error_code& e) {
    return read_exactly(std::as_writable_bytes(into), e);
  }

  // Waits until the transport has taken a record of it, 16 KiB at most.
  std::size_t write_some(std::span<const std::byte> from);
  std::size_t write_some(std::span<const std::byte> from, std::error_code&);
  std::size_t write_some(std::string_view from) {
    return write_some(std::as_bytes(std::span(from)));
  }
  std::size_t write_some(std::string_view from, std::error_code& e) {
    return write_some(std::as_bytes(std::span(from)), e);
  }
  template <io::char_range R, class... E>
  std::size_t write_some(const R& from, E&... error) {
    return write_some(io::text_of(from), error...);
  }

  // All of it; several small buffers share records.
  void write(std::span<const std::byte> from);
  std::size_t write(std::span<const std::byte> from, std::error_code&);
  void write(std::string_view from) { write(std::as_bytes(std::span(from))); }
  std::size_t write(std::string_view from, std::error_code& e) {
    return write(std::as_bytes(std::span(from)), e);
  }
  template <io::char_range R, class... E>
  auto write(const R& from, E&... error) {
    return write(io::text_of(from), error...);
  }
  void write(std::span<const std::span<const std::byte>> from);
  std::size_t write(std::span<const std::span<const std::byte>> from, std::error_code&);

  // As tcp_stream's. Over a transport without deadlines, one that is set during a call counts from
  // the next on.
  template <class Duration>
  void set_read_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    set_deadline(true, sched::deadline_at(t));
  }
  template <class Duration>
  void set_write_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    set_deadline(false, sched::deadline_at(t));
  }

  // Plaintext since the handshake; written: what the transport has taken whole records of.
  std::uint64_t bytes_read() const noexcept;
  std::uint64_t bytes_written() const noexcept;

  // Sends a close_notify, after which the peer reads the end of the stream, and shuts down the
  // transport's writing; waits for that, and is a write; reading goes on. Twice is once.
  void shutdown_write();
  void shutdown_write(std::error_code&);

  // As tcp_stream's. It sends nothing: without shutdown_write() before, the peer gets
  // connection_aborted. Read to the end first: a socket that is closed with something unread, as a
  // server's session tickets are to a client that only writes, resets the connection.
  void close() noexcept;
  bool is_open() const noexcept;

  endpoint local() const;
  endpoint local(std::error_code&) const;
  endpoint remote() const;
  endpoint remote(std::error_code&) const;

  std::string alpn() const;     // the protocol agreed on; "": none
  std::string version() const;  // "TLSv1.3"; "": closed from the beginning
  bool resumed() const;         // the handshake resumed an earlier session

 private:
  explicit tls_stream(std::shared_ptr<io::tls_core> c) noexcept : core_(std::move(c)) {}
  using transport = std::unique_ptr<io::tls_transport>;
  template <class S>
  static transport erase(S s) {
    return std::make_unique<io::tls_transport_of<S>>(std::move(s));
  }
  static tls_stream connect_over(transport, const tls_context&, std::string_view host);
  static tls_stream connect_over(transport, const tls_context&, std::string_view host,
                                 std::error_code&);
  static tls_stream accept_over(transport, const tls_context&);
  static tls_stream accept_over(transport, const tls_context&, std::error_code&);
  void set_deadline(bool reading, clock::time_point);

  std::shared_ptr<io::tls_core> core_;  // calls in flight keep it as well
};

}  // namespace coir
