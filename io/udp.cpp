#include <coir/io/udp.hpp>

#include <charconv>
#include <cstring>
#include <string>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "addresses.hpp"
#include "io_call.hpp"
#include "system_calls.hpp"

namespace coir {
namespace {

constexpr int ipv6_multicast_all = 29;  // IPV6_MULTICAST_ALL, Linux 4.20

// The first failure of what follows a socket's creation.
int prepare(int fd, const endpoint& at, const bind_options& options) noexcept {
  int result = 0;
  const auto set = [&](bool wanted, int level, int name, int value) {
    if (wanted && result >= 0) result = io::sys::set_option(fd, level, name, value);
  };
  set(options.reuse_address, SOL_SOCKET, SO_REUSEADDR, 1);
  set(options.reuse_port, SOL_SOCKET, SO_REUSEPORT, 1);
  set(at.kind() == endpoint::family::ipv6, IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0);
  // Linux would also deliver what any other socket of this machine has joined. Old kernels lack the
  // one of IPv6.
  io::sys::set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  if (at.kind() == endpoint::family::ipv6)
    io::sys::set_option(fd, IPPROTO_IPV6, ipv6_multicast_all, 0);
  return result >= 0 ? io::sys::bind(fd, at.native(), at.native_size()) : result;
}

// 0: the kernel's choice. False: there is none of that name.
bool find_interface(std::string_view name, unsigned& index, std::error_code& error) {
  index = 0;
  if (name.empty()) return true;
  const char* const end = name.data() + name.size();
  if (const auto r = std::from_chars(name.data(), end, index); r.ptr == end && r.ec == std::errc())
    return true;
  if (name.size() < IF_NAMESIZE && name.find('\0') == name.npos)
    index = ::if_nametoindex(std::string(name).c_str());
  else
    index = 0;
  if (index != 0) return true;
  error = std::make_error_code(std::errc::no_such_device);
  return false;
}

void change_group(handle_type fd, int name, const endpoint& group, std::string_view interface,
                  std::error_code& error) {
  group_req request{};
  if (!io::suits(group, io::transport::tcp, error) ||
      !find_interface(interface, request.gr_interface, error))
    return;
  std::memcpy(&request.gr_group, group.native(), group.native_size());
  const int level = group.kind() == endpoint::family::ipv6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const int result = io::sys::set_option(fd, level, name, &request, sizeof request);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}

}  // namespace

udp_socket udp_socket::bind(const endpoint& at, bind_options options, std::error_code& error) {
  {
    io::io_call permitted;
    if (!permitted.enter_foreign(-1, sched::wait_kind::nothing, error) ||
        !io::suits(at, io::transport::tcp, error))
      return {};
  }
  const int fd = io::sys::socket(static_cast<const sockaddr*>(at.native())->sa_family, SOCK_DGRAM);
  if (fd < 0) {
    error.assign(-fd, std::system_category());
    return {};
  }
  udp_socket made{io::handle(fd)};
  if (const int result = prepare(fd, at, options); result < 0) {
    error.assign(-result, std::system_category());
    return {};
  }
  return made;
}
udp_socket udp_socket::bind(const endpoint& at, bind_options options) {
  std::error_code error;
  udp_socket s = bind(at, options, error);
  if (error) io::throw_error(error, "coir: bind to " + to_string(at));
  return s;
}

udp_socket udp_socket::adopt(handle_type fd) { return udp_socket(io::adopt(fd)); }

void udp_socket::set_broadcast(bool on, std::error_code& error) {
  set_option(SOL_SOCKET, SO_BROADCAST, on ? 1 : 0, error);
}
void udp_socket::set_broadcast(bool on) {
  std::error_code error;
  set_broadcast(on, error);
  io::check(error, "coir: set_broadcast");
}

void udp_socket::join_group(const endpoint& group, std::string_view interface,
                            std::error_code& error) {
  change_group(native_handle(), MCAST_JOIN_GROUP, group, interface, error);
}
void udp_socket::join_group(const endpoint& group, std::string_view interface) {
  std::error_code error;
  join_group(group, interface, error);
  if (error) io::throw_error(error, "coir: join_group " + to_string(group));
}
void udp_socket::leave_group(const endpoint& group, std::string_view interface,
                             std::error_code& error) {
  change_group(native_handle(), MCAST_LEAVE_GROUP, group, interface, error);
}
void udp_socket::leave_group(const endpoint& group, std::string_view interface) {
  std::error_code error;
  leave_group(group, interface, error);
  if (error) io::throw_error(error, "coir: leave_group " + to_string(group));
}

bool udp_socket::of_ipv6() const noexcept {
  return io::sys::get_option(native_handle(), SOL_SOCKET, SO_DOMAIN) == AF_INET6;
}

void udp_socket::set_multicast_interface(std::string_view name, std::error_code& error) {
  unsigned index = 0;
  if (!find_interface(name, index, error)) return;
  if (of_ipv6()) return set_option(IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(index), error);
  ip_mreqn request{};
  request.imr_ifindex = static_cast<int>(index);
  const int result =
      io::sys::set_option(native_handle(), IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request);
  error = result < 0 ? std::error_code(-result, std::system_category()) : std::error_code();
}
void udp_socket::set_multicast_interface(std::string_view name) {
  std::error_code error;
  set_multicast_interface(name, error);
  io::check(error, "coir: set_multicast_interface");
}

void udp_socket::set_multicast_ttl(int hops, std::error_code& error) {
  of_ipv6() ? set_option(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops, error)
            : set_option(IPPROTO_IP, IP_MULTICAST_TTL, hops, error);
}
void udp_socket::set_multicast_ttl(int hops) {
  std::error_code error;
  set_multicast_ttl(hops, error);
  io::check(error, "coir: set_multicast_ttl");
}

void udp_socket::set_multicast_loop(bool on, std::error_code& error) {
  of_ipv6() ? set_option(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, on ? 1 : 0, error)
            : set_option(IPPROTO_IP, IP_MULTICAST_LOOP, on ? 1 : 0, error);
}
void udp_socket::set_multicast_loop(bool on) {
  std::error_code error;
  set_multicast_loop(on, error);
  io::check(error, "coir: set_multicast_loop");
}

}  // namespace coir
