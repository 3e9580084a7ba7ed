// What tcp_listener and unix_listener have in common: a socket that accepts connections.
#pragma once
#include <system_error>

#include <coir/io/endpoint.hpp>
#include <coir/io/handle.hpp>
#include <coir/io/socket_stream.hpp>

namespace coir {

// How a listening socket is made.
struct listen_options {
  int backlog = 4096;  // connections that wait to be accepted; the kernel's somaxconn bounds it
  bool reuse_port =
      false;  // several sockets of one address, among which the kernel divides connections
  bool v6_only = false;        // an IPv6 wildcard takes no IPv4 connections
  bool replace_stale = false;  // unix: a socket file that nobody serves is replaced
};

// Calls have two forms, as in socket_stream. One fiber accepts at a time.
class socket_listener {
 public:
  endpoint local() const;
  endpoint local(std::error_code&) const;

  // A parked accept ends with operation_canceled. Any fiber, any thread; idempotent.
  void close() noexcept;
  bool is_open() const noexcept { return handle_.is_open(); }
  handle_type native_handle() const noexcept { return handle_.native(); }  // -1: closed
  handle_type release() noexcept;

  io::handle& io_handle() noexcept { return handle_; }  // for server

 protected:
  socket_listener() noexcept = default;
  socket_listener(io::handle h) noexcept : handle_(std::move(h)) {}

  io::handle handle_;
};

namespace io {

// Binds and listens. Neither waits, but both need a fiber, as all I/O.
handle listen(const endpoint&, transport, const listen_options&, std::error_code& error);
handle adopt_listener(handle_type);

// Waits for one connection. What ended before it was accepted is passed over.
handle accept(descriptor* listener, std::error_code& error);

}  // namespace io
}  // namespace coir
