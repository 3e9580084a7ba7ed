// Writes from the caller's memory. What the loopback device has not delivered lies there and is not
// copied, so a peer that does not read shows who lets go of it too early.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "io_fixture.hpp"

namespace coir::testing {

inline constexpr std::size_t kib = 1024, mib = 1024 * kib;
inline constexpr auto long_patience = 60s, no_patience = 0s;

inline std::string pattern(std::size_t size, std::size_t seed = 0) {
  std::string v(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    v[i] = static_cast<char>((i + seed) * 31 + ((i + seed) >> 8) * 7);
  return v;
}

// Whether this rung sends without a copy; else writes are plain ones, and keep their promises.
inline bool lends() {
  return runtime::current().metrics().reactor_reason.find("zero-copy send") != std::string::npos;
}

// `first` takes some 200 KiB in one go; the peer's system takes `little` and then waits until
// `second` reads.
inline std::pair<tcp_stream, tcp_stream> stalling_pair(int little = 32 * 1024) {
  auto listener = tcp_listener::bind(any_port);
  const int much = 512 * 1024;
  ::setsockopt(listener.native_handle(), SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
  // Segments as a network has them: two of loopback's would not fit the window, and the kernel
  // would wait between one and the next.
  const int segment = 1448;
  ::setsockopt(listener.native_handle(), IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  auto dialled = spawn([at = listener.local()] { return tcp_stream::connect(at); });
  auto accepted = listener.accept();
  auto made = dialled.get();
  ::setsockopt(made.native_handle(), SOL_SOCKET, SO_SNDBUF, &much, sizeof much);
  return {std::move(made), std::move(accepted)};
}
inline constexpr std::size_t taken_at_once = 128 * kib;

inline std::string read(tcp_stream& from, std::size_t size) {
  std::string got(size, '\0');
  from.read_exactly(got);
  return got;
}

// The beginning of what was sent, and then the reset.
inline void expect_beginning_and_reset(tcp_stream& peer, std::string_view sent) {
  std::string got(sent.size(), '\0');
  std::error_code error;
  const std::size_t n = peer.read_exactly(got, error);
  EXPECT_LT(n, sent.size());
  EXPECT_EQ(error, std::errc::connection_reset);
  EXPECT_TRUE(got.substr(0, n) == sent.substr(0, n));
}

// A write of which the kernel has taken all, and the peer not.
struct stalled_write {
  explicit stalled_write(std::chrono::milliseconds patience) : ends(stalling_pair()) {
    ends.first.set_zero_copy(1, patience);
    writing = spawn([this] {
      std::error_code error;
      ends.first.write(text, error);
      std::fill(text.begin(), text.end(), '!');
      return error;
    });
    EXPECT_TRUE(eventually_on_fiber([this] { return ends.first.bytes_written() == text.size(); }));
    if (lends()) await_parked(writing);
  }
  std::pair<tcp_stream, tcp_stream> ends;
  const std::string sent = pattern(taken_at_once);
  std::string text = sent;
  task<std::error_code> writing;
};

}  // namespace coir::testing
