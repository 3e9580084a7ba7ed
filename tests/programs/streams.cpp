// Bytes through pipes and sockets.
#include <array>

#include <coir/io/pipe.hpp>
#include <coir/io/tcp.hpp>
#include <coir/io/unix.hpp>

#include "children.hpp"

namespace coir::testing::programs {
namespace {

std::byte byte_at(std::uint64_t i) { return static_cast<std::byte>(i * 7 + (i >> 8) + 3); }

// What may come instead of bytes: a deadline, a close, an end.
bool is_expected(const std::error_code& e) {
  return !e || e == std::errc::timed_out || e == std::errc::operation_canceled ||
         e == std::errc::bad_file_descriptor || e == std::errc::broken_pipe ||
         e == std::errc::connection_reset;
}

template <class S>
struct ends {
  S from, to;
  std::uint64_t checked = 0;  // by the reader
};

template <class S>
void write_some(node& r, ends<S>& e) {
  std::array<std::byte, 3000> out;
  for (std::uint32_t k = 1 + r.random(6); k > 0; --k) {
    const std::uint64_t at = e.to.bytes_written();
    const std::size_t size = 1 + r.random(out.size());
    for (std::size_t i = 0; i < size; ++i) out[i] = byte_at(at + i);
    std::error_code error;
    const auto bytes = std::span<const std::byte>(out).first(size);
    const std::size_t sent = r.block("write", [&] {
      return r.random(2) == 0 ? e.to.write(bytes, error) : e.to.write_some(bytes, error);
    });
    r.expect(e.to.bytes_written() == at + sent, "bytes_written is wrong");
    if (!is_expected(error)) r.fail("write: " + error.message());
    if (error && error != std::errc::timed_out) return;
    leaves(r, r.random(2));
  }
}

template <class S>
bool check_bytes(node& r, ends<S>& e, std::span<const std::byte> got) {
  for (const std::byte b : got)
    if (b != byte_at(e.checked++)) return r.fail("other bytes came than were written"), false;
  return true;
}

// Until the end, a close or, at last, its patience is over.
template <class S>
void read_some(node& r, ends<S>& e) {
  for (;;) {
    std::array<std::byte, 2000> in;
    std::error_code error;
    const std::uint64_t at = e.from.bytes_read();
    const std::size_t n = r.block("read", [&] { return e.from.read_some(in, error); });
    r.expect(e.from.bytes_read() == at + n, "bytes_read is wrong");
    if (!is_expected(error)) r.fail("read: " + error.message());
    if (!check_bytes(r, e, std::span<const std::byte>(in).first(n))) return;
    if (n == 0) return;
    leaves(r, r.random(2));
  }
}

template <class S>
void run(node& n, ends<S> e) {
  bool closed_reader = false;
  {
    child reader = start(n, [&](node& r) { read_some(r, e); });
    child writer = start(n, [&](node& r) { write_some(r, e); });
    // The reader ends at the writer's end, or at its deadline, if this node is thrown out of here.
    struct closer {
      ends<S>& of;
      ~closer() { of.from.set_read_deadline(clock::now()); }
    } guard{e};
    steps(n, 1);
    switch (n.random(5)) {
      case 0:
        e.from.set_read_deadline(clock::now() + n.moment());
        break;
      case 1:
        e.to.set_write_deadline(clock::now() + n.moment());
        break;
      case 2:
        ask(writer.who, writer.t);
        break;
      case 3:
        ask(reader.who, reader.t);
        break;
      default:
        break;
    }
    leaves(n, 2);
    if (n.random(4) == 0) {
      closed_reader = true;
      e.from.close();
    }
    // It cannot wait for ever: nobody may read any more.
    e.to.set_write_deadline(clock::now() + n.moment());
    comes_to(n, *writer.who, writer.t.id(), [&] { return writer.t.get(); });
    if (n.random(2) == 0) {
      e.from.set_read_deadline(clock::now() + n.moment());
      comes_to(n, *reader.who, reader.t.id(), [&] { return reader.t.get(); });
    }
  }
  if (closed_reader) return;
  const std::uint64_t written = e.to.bytes_written();
  e.to.close();
  e.from.set_read_deadline(clock::time_point::max());
  shield([&] {
    open_frame here_now(n, opened::shield);
    read_some(n, e);
  });
  if (e.checked != written)
    n.fail(std::to_string(written) + " bytes were written, " + std::to_string(e.checked) + " came");
}

}  // namespace

void bytes_through_a_stream(node& n) {
  switch (n.random(3)) {
    case 0: {
      auto [from, to] = make_pipe();
      return run(n, ends<pipe_stream>{std::move(from), std::move(to)});
    }
    case 1: {
      auto [from, to] = unix_stream::pair();
      return run(n, ends<unix_stream>{std::move(from), std::move(to)});
    }
    default: {
      auto listener =
          n.block("bind", [] { return tcp_listener::bind(endpoint::parse("127.0.0.1:0")); });
      const endpoint at = listener.local();
      auto dialled = n.block("connect", [&] { return tcp_stream::connect(at); });
      auto accepted = n.block("accept", [&] { return listener.accept(); });
      return run(n, ends<tcp_stream>{std::move(accepted), std::move(dialled)});
    }
  }
}

}  // namespace coir::testing::programs
