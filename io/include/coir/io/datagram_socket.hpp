// What udp_socket and unix_datagram have in common: messages that arrive whole, or not at all.
#pragma once
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>
#include <system_error>

#include <coir/io/char_range.hpp>
#include <coir/io/endpoint.hpp>
#include <coir/io/handle.hpp>
#include <coir/io/socket_stream.hpp>
#include <coir/sched/clock.hpp>

namespace coir {

// A message that came.
struct datagram {
  std::size_t size = 0;    // bytes in the buffer; 0 is a message too, and no end
  endpoint from;           // names no address: not asked for, or the sender has none
  bool truncated = false;  // the buffer was too small, and the rest is lost
};

// For recv_batch: where one message may go, and what came.
struct receive_slot {
  std::span<std::byte> into;
  datagram got = {};
};
// For send_batch: a message. `to` names no address: to the peer that the socket is connected to.
struct send_slot {
  std::span<const std::byte> bytes;
  endpoint to = {};
};

// bind_options::replace_stale is for socket files, the others for UDP.
struct bind_options {
  bool reuse_address = false;  // several sockets of one address, all of which get a multicast
  bool reuse_port = false;     // the same, and the kernel divides the other messages among them
  bool v6_only = false;        // an IPv6 wildcard takes no IPv4 messages
  bool replace_stale = false;  // a socket file that nobody serves is replaced
};

// Calls as in socket_stream: two forms, fibers only, one receiver and one sender at a time (others
// get operation_in_progress). An error belongs to the call that reports it: the socket goes on, and
// nothing that came is lost. A cancelled receive has taken no message.
class datagram_socket {
 public:
  // Waits for a message, and takes it. An empty buffer takes one as well, of which nothing remains.
  // connection_refused: on a connected socket, an earlier message found nobody (ICMP said so); one
  // that is not connected never learns that.
  datagram recv_from(std::span<std::byte> into);
  datagram recv_from(std::span<std::byte> into, std::error_code&);
  datagram recv_from(std::span<char> into) { return recv_from(std::as_writable_bytes(into)); }
  datagram recv_from(std::span<char> into, std::error_code& e) {
    return recv_from(std::as_writable_bytes(into), e);
  }

  // The same without asking for the sender, for connected sockets.
  datagram recv(std::span<std::byte> into);
  datagram recv(std::span<std::byte> into, std::error_code&);
  datagram recv(std::span<char> into) { return recv(std::as_writable_bytes(into)); }
  datagram recv(std::span<char> into, std::error_code& e) {
    return recv(std::as_writable_bytes(into), e);
  }

  // As recv_from, but the message stays the next one to be received.
  datagram peek_from(std::span<std::byte> into);
  datagram peek_from(std::span<std::byte> into, std::error_code&);
  datagram peek_from(std::span<char> into) { return peek_from(std::as_writable_bytes(into)); }
  datagram peek_from(std::span<char> into, std::error_code& e) {
    return peek_from(std::as_writable_bytes(into), e);
  }

  // Waits for a message, and takes those behind it that are there already: one system call for
  // many. How many slots were filled, from the first; 0 only without slots or with an error.
  std::size_t recv_batch(std::span<receive_slot>);
  std::size_t recv_batch(std::span<receive_slot>, std::error_code&);

  // Waits until there is room for the message, and sends it; its size. message_size: it is too long
  // for the protocol, and nothing was sent. Nobody learns whether it arrives.
  std::size_t send_to(std::span<const std::byte> from, const endpoint& to);
  std::size_t send_to(std::span<const std::byte> from, const endpoint& to, std::error_code&);
  std::size_t send_to(std::string_view from, const endpoint& to) {
    return send_to(std::as_bytes(std::span(from)), to);
  }
  std::size_t send_to(std::string_view from, const endpoint& to, std::error_code& e) {
    return send_to(std::as_bytes(std::span(from)), to, e);
  }
  template <io::char_range R, class... E>
  std::size_t send_to(const R& from, const endpoint& to, E&... error) {
    return send_to(io::text_of(from), to, error...);
  }

  // The same to the peer that the socket is connected to; destination_address_required (UDP) or
  // not_connected (Unix-domain) without one. connection_refused as in recv_from; this message was
  // not sent then.
  std::size_t send(std::span<const std::byte> from);
  std::size_t send(std::span<const std::byte> from, std::error_code&);
  std::size_t send(std::string_view from) { return send(std::as_bytes(std::span(from))); }
  std::size_t send(std::string_view from, std::error_code& e) {
    return send(std::as_bytes(std::span(from)), e);
  }
  template <io::char_range R, class... E>
  std::size_t send(const R& from, E&... error) {
    return send(io::text_of(from), error...);
  }

  // Sends them in their order, many with one system call; stops at the first that fails. How many
  // went out (the second form; in the first it is all of them, or it throws).
  std::size_t send_batch(std::span<const send_slot>);
  std::size_t send_batch(std::span<const send_slot>, std::error_code&);

  // The peer for send; from now on only its messages are received (what has come stays). Does not
  // wait. An endpoint that names no address: no peer again.
  void connect(const endpoint&);
  void connect(const endpoint&, std::error_code&);

  // From then on calls give timed_out, the one in flight included. max(): none. Any fiber, any
  // thread.
  template <class Duration>
  void set_read_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    set_deadline(true, sched::deadline_at(t));
  }
  template <class Duration>
  void set_write_deadline(std::chrono::time_point<std::chrono::steady_clock, Duration> t) {
    set_deadline(false, sched::deadline_at(t));
  }

  // Bytes that may wait in the kernel, its own records included. It doubles what it is given, and
  // net.core.rmem_max (wmem_max) bounds it.
  void set_receive_buffer(std::size_t bytes);
  void set_receive_buffer(std::size_t bytes, std::error_code&);
  void set_send_buffer(std::size_t bytes);
  void set_send_buffer(std::size_t bytes, std::error_code&);
  std::size_t receive_buffer() const;  // what it has become
  std::size_t send_buffer() const;

  bool is_open() const noexcept { return handle_.is_open(); }
  endpoint local() const;
  endpoint local(std::error_code&) const;
  endpoint remote() const;  // not_connected: there is no peer
  endpoint remote(std::error_code&) const;
  handle_type native_handle() const noexcept { return handle_.native(); }  // -1: closed

 protected:
  datagram_socket() noexcept = default;
  explicit datagram_socket(io::handle h) noexcept : handle_(std::move(h)) {}
  void set_option(int level, int name, int value, std::error_code&);
  std::size_t get_option(int level, int name) const;

  io::handle handle_;

 private:
  void set_deadline(bool reading, clock::time_point);
};

}  // namespace coir
