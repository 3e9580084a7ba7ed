// UDP: messages to and from any address.
#pragma once
#include <string_view>
#include <system_error>

#include <coir/io/datagram_socket.hpp>

namespace coir {

// Its calls are datagram_socket's. Groups: multicast, of IPv4 or IPv6. An interface is named as the
// system does ("eth0") or by its number; "" leaves the choice to the kernel.
class udp_socket : public datagram_socket {
 public:
  udp_socket() noexcept = default;

  // Port 0: one that is free. Does not wait. Throws std::system_error that names the address.
  static udp_socket bind(const endpoint&, bind_options = {});
  static udp_socket bind(const endpoint&, bind_options, std::error_code&);
  static udp_socket bind(const endpoint& at, std::error_code& error) { return bind(at, {}, error); }
  static udp_socket adopt(handle_type);  // takes over a UDP socket

  // Sending to a broadcast address is permission_denied until it is set.
  void set_broadcast(bool);
  void set_broadcast(bool, std::error_code&);

  // Receives what is sent to that group, through that interface. The port of `group` plays no part:
  // the socket is bound to the one that the senders use. no_such_device: there is no such
  // interface.
  void join_group(const endpoint& group, std::string_view interface = {});
  void join_group(const endpoint& group, std::string_view interface, std::error_code&);
  void join_group(const endpoint& group, std::error_code& e) { join_group(group, {}, e); }
  void leave_group(const endpoint& group, std::string_view interface = {});
  void leave_group(const endpoint& group, std::string_view interface, std::error_code&);
  void leave_group(const endpoint& group, std::error_code& e) { leave_group(group, {}, e); }

  // What is sent to groups: through which interface; how many routers it may pass, 0 none, at first
  // 1; whether receivers on this machine get it too, at first yes.
  void set_multicast_interface(std::string_view);
  void set_multicast_interface(std::string_view, std::error_code&);
  void set_multicast_ttl(int);
  void set_multicast_ttl(int, std::error_code&);
  void set_multicast_loop(bool);
  void set_multicast_loop(bool, std::error_code&);

  // Calls in flight end with operation_canceled; waits, shielded, for these only. Any fiber, any
  // thread; idempotent.
  void close() noexcept { handle_.close(); }
  // The descriptor now belongs to the caller; calls in flight end as in close().
  handle_type release() noexcept { return handle_.release(); }

 private:
  explicit udp_socket(io::handle h) noexcept : datagram_socket(std::move(h)) {}
  bool of_ipv6() const noexcept;
};

}  // namespace coir
