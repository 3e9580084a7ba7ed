// Two ends of a TLS connection, and what they are made with.
#pragma once
#include <utility>

#include <sys/socket.h>

#include "io_fixture.hpp"
#include "tls_certificates.hpp"

namespace coir::testing {

// Trusts the tests' authority alone; see tls_certificates.cpp.
inline tls_context client_context() {
  tls_context c = tls_context::client();
  c.add_trusted(certificate_folder::get().authority);
  return c;
}
inline tls_context server_context(const credentials& c = certificate_folder::get().good) {
  return tls_context::server(c.chain, c.key);
}

// Reads at most a few bytes at a time, writes in pieces, has no deadlines and no addresses: a
// stream of somebody else's.
class odd_stream {
 public:
  explicit odd_stream(tcp_stream s) : inner_(std::move(s)) {}

  std::size_t read_some(std::span<std::byte> into) { return inner_.read_some(part(into)); }
  std::size_t read_some(std::span<std::byte> into, std::error_code& e) {
    return inner_.read_some(part(into), e);
  }
  std::size_t write_some(std::span<const std::byte> from) { return inner_.write_some(from); }
  std::size_t write_some(std::span<const std::byte> from, std::error_code& e) {
    return inner_.write_some(from, e);
  }
  void write(std::span<const std::byte> from) { inner_.write(from); }
  void write(std::span<const std::byte> from, std::error_code& e) {
    for (e.clear(); !from.empty() && !e;) {
      const std::size_t n = piece(write_turn_, from.size(), 20'000);
      inner_.write(from.first(n), e);
      from = from.subspan(n);
    }
  }
  void shutdown_write() { inner_.shutdown_write(); }
  void close() { inner_.close(); }
  bool is_open() { return inner_.is_open(); }

 private:
  static std::size_t piece(unsigned& turn, std::size_t all, unsigned most) {
    turn = turn * 1664525U + 1013904223U;
    return std::min<std::size_t>(all, 1 + (turn >> 8) % most);
  }
  std::span<std::byte> part(std::span<std::byte> into) {
    return into.first(piece(read_turn_, into.size(), 9'000));
  }

  tcp_stream inner_;
  unsigned read_turn_ = 1, write_turn_ = 2;  // one reader's, one writer's
};

struct tls_ends {
  tls_stream client, server;
};

// Over a TCP connection. On a fiber; throws what the handshake does.
template <class Wrap>
tls_ends tls_over(Wrap&& wrap, const tls_context& client, const tls_context& server,
                  std::string_view host = "localhost") {
  auto [a, b] = tcp_pair();
  auto accepting = spawn(
      [&, t = wrap(std::move(b))]() mutable { return tls_stream::accept(std::move(t), server); });
  std::error_code error;
  tls_stream connected = tls_stream::connect(wrap(std::move(a)), client, host, error);
  if (error) {
    EXPECT_TRUE(accepting.error());
    throw std::system_error(error);
  }
  return {std::move(connected), accepting.get()};
}
inline tls_ends tls_pair(const tls_context& client, const tls_context& server,
                         std::string_view host = "localhost") {
  return tls_over([](tcp_stream s) { return s; }, client, server, host);
}
inline tls_ends tls_pair() { return tls_pair(client_context(), server_context()); }

inline constexpr std::size_t tls_record = 16 * 1024;

inline void set_send_buffer(const tcp_stream& s, int bytes) {
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
// A connection that takes little at a time, so that writers park.
inline tls_ends narrow_pair(const tls_context& client = client_context(),
                            const tls_context& server = server_context()) {
  return tls_over(
      [](tcp_stream s) {
        set_send_buffer(s, 4096);
        return s;
      },
      client, server);
}
inline std::string read_all(tls_stream& s, std::size_t at_a_time = 10'000) {
  std::string got, buffer(at_a_time, 0);
  while (const std::size_t n = s.read_some(buffer)) got.append(buffer, 0, n);
  return got;
}
inline std::error_code read_error(tls_stream& s) {
  std::error_code e;
  char buffer[100];
  while (s.read_some(buffer, e) != 0) {}
  return e;
}

// Both ends of TLS, and another descriptor of the server's socket, to speak behind its back.
struct spied_ends {
  tls_stream client, server;
  tcp_stream behind;
};
inline spied_ends spied_tls_pair() {
  auto [a, b] = tcp_pair();
  tcp_stream behind = tcp_stream::adopt(::dup(b.native_handle()));
  const tls_context server = server_context();
  auto accepting =
      spawn([&, t = std::move(b)]() mutable { return tls_stream::accept(std::move(t), server); });
  tls_stream connected = tls_stream::connect(std::move(a), client_context(), "localhost");
  return {std::move(connected), accepting.get(), std::move(behind)};
}

inline std::string pattern(std::size_t size) {
  std::string v(size, 0);
  for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
  return v;
}

}  // namespace coir::testing
