// TCP: streams and listeners.
#pragma once
#include <chrono>
#include <cstddef>
#include <string_view>
#include <system_error>

#include <coir/io/connect_error.hpp>
#include <coir/io/socket_listener.hpp>
#include <coir/io/socket_stream.hpp>

namespace coir {

// When an idle connection is probed, and when it counts as lost (tcp(7)).
struct keep_alive_options {          // 0: the system's
  std::chrono::seconds idle{0};      // silence before the first probe
  std::chrono::seconds interval{0};  // between probes
  int count = 0;                     // unanswered probes before the connection is given up
};

// A connection; its calls are socket_stream's. New ones have TCP_NODELAY set.
class tcp_stream : public socket_stream {
 public:
  tcp_stream() noexcept = default;
  explicit tcp_stream(io::handle h) noexcept : socket_stream(std::move(h)) {}

  // Waits until the connection is made. Errors: the kernel's (connection_refused,
  // network_unreachable, timed_out, ...), address_family_not_supported. A cancelled one leaves
  // nothing open.
  static tcp_stream connect(const endpoint&);
  static tcp_stream connect(const endpoint&, std::error_code&);

  // Resolves the host and connects to the first of its addresses that answers (happy eyeballs, RFC
  // 8305): IPv6 and IPv4 in turn, the next attempt 250 ms after the last or when that has failed;
  // attempts that lose are cancelled and closed before it returns. Throws connect_error, which
  // knows each attempt's error; the other form gives its code(). A cancelled one leaves nothing
  // open.
  static tcp_stream connect(std::string_view host, std::string_view service);
  static tcp_stream connect(std::string_view host, std::string_view service, std::error_code&);

  static tcp_stream adopt(handle_type);  // takes over a connected socket

  void set_no_delay(bool);
  void set_no_delay(bool, std::error_code&);
  void set_keep_alive(bool, keep_alive_options = {});
  void set_keep_alive(bool, keep_alive_options, std::error_code&);

  // Writes of at least so many bytes go out from the caller's memory, without a copy into the
  // socket's (io_uring, Linux 6.1); SIZE_MAX, the default: none. Such a write returns when the
  // peer's system has acknowledged all of it, because until then the kernel reads the memory: a
  // round trip later than another, which matters the less the larger the write is. So one that is
  // cancelled, closed or past its deadline goes on waiting for that, `patience` at most; then the
  // connection is reset, and the write fails. Pays on fast network cards. Loopback, and cards that
  // cannot gather, copy all the same: after 8 sends of which the kernel says so the stream writes
  // plainly again. What the kernel refuses (epoll has none; pages beyond RLIMIT_MEMLOCK) is written
  // plainly, too. runtime_metrics::zero_copy_sends and its neighbours count. Any fiber, any thread;
  // from the next write on.
  void set_zero_copy(std::size_t from,
                     std::chrono::milliseconds patience = std::chrono::seconds(1)) noexcept;
};

// A listening TCP socket; accept gives tcp_streams. Its other members are socket_listener's.
class tcp_listener : public socket_listener {
 public:
  tcp_listener() noexcept = default;

  // Does not wait. Throws std::system_error that names the address; a fiber.
  static tcp_listener bind(const endpoint&, listen_options = {});
  static tcp_listener bind(const endpoint&, listen_options, std::error_code&);
  static tcp_listener bind(const endpoint& e, std::error_code& error) { return bind(e, {}, error); }

  // Takes over a listening socket, and makes it non-blocking. Who has it as well goes on listening
  // when this one is closed.
  static tcp_listener adopt(handle_type);

  // Waits for a connection. Errors: too_many_files_open and its like, operation_canceled after
  // close().
  tcp_stream accept();
  tcp_stream accept(std::error_code&);

  using stream_type = tcp_stream;

 private:
  explicit tcp_listener(io::handle h) noexcept : socket_listener(std::move(h)) {}
};

}  // namespace coir
