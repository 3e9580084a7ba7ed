#include <coir/io/endpoint.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace coir {
namespace {

static_assert(sizeof(sockaddr_un) <= 112 && sizeof(sockaddr_in6) <= 112);

[[noreturn]] void refuse(std::string_view text, const char* why) {
  std::string shown;
  for (const char c : text.substr(0, 200))
    if (c >= ' ' && c != 0x7f)
      shown += c;
    else
      shown += '?';
  throw std::invalid_argument(
      "coir: \"" + shown + "\" is no endpoint: " + why +
      "; expected ADDRESS:PORT, [IPv6-ADDRESS]:PORT, unix:PATH or unix:@NAME");
}

std::uint16_t parse_port(std::string_view whole, std::string_view digits) {
  unsigned port = 0;
  const char* end = digits.data() + digits.size();
  const auto [at, error] = std::from_chars(digits.data(), end, port);
  if (digits.empty() || at != end || error != std::errc() || port > 65535)
    refuse(whole, "the port is not a number from 0 to 65535");
  return static_cast<std::uint16_t>(port);
}

endpoint parse_unix(std::string_view whole, std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool abstract = path.starts_with('@');
  if (path.size() <= (abstract ? 1u : 0u)) refuse(whole, "the path is empty");
  if (path.find('\0') != path.npos) refuse(whole, "the path contains a NUL");
  if (path.size() > sizeof address.sun_path - 1) refuse(whole, "the path is longer than 107 bytes");
  std::memcpy(address.sun_path, path.data(), path.size());
  if (abstract) address.sun_path[0] = '\0';
  // A path ends with its NUL; an abstract name is exactly as long as said.
  const std::size_t size = offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1);
  return endpoint::from_native(&address, size);
}

unsigned parse_scope(std::string_view whole, std::string_view scope) {
  if (scope.empty() || scope.size() >= IF_NAMESIZE) refuse(whole, "the scope names no interface");
  unsigned index = 0;
  const char* end = scope.data() + scope.size();
  if (const auto r = std::from_chars(scope.data(), end, index); r.ptr == end && r.ec == std::errc())
    return index;
  index = if_nametoindex(std::string(scope).c_str());
  if (index == 0) refuse(whole, "the scope names no interface");
  return index;
}

endpoint parse_ipv6(std::string_view whole) {
  const auto close = whole.find("]:");
  if (close == whole.npos) refuse(whole, "a port has to follow the bracket");
  std::string_view host = whole.substr(1, close - 1);
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(parse_port(whole, whole.substr(close + 2)));
  if (const auto percent = host.find('%'); percent != host.npos) {
    address.sin6_scope_id = parse_scope(whole, host.substr(percent + 1));
    host = host.substr(0, percent);
  }
  if (host.find('\0') != host.npos ||
      inet_pton(AF_INET6, std::string(host).c_str(), &address.sin6_addr) != 1)
    refuse(whole, "what the brackets hold is no IPv6 address");
  return endpoint::from_native(&address, sizeof address);
}

endpoint parse_ipv4(std::string_view whole) {
  const auto colon = whole.rfind(':');
  if (colon == whole.npos) refuse(whole, "it has no port");
  const std::string_view host = whole.substr(0, colon);
  if (host.find(':') != host.npos) refuse(whole, "an IPv6 address has to stand in brackets");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(parse_port(whole, whole.substr(colon + 1)));
  if (host.find('\0') != host.npos ||
      inet_pton(AF_INET, std::string(host).c_str(), &address.sin_addr) != 1)
    refuse(whole, "what stands before the port is no numeric address (names are for resolve())");
  return endpoint::from_native(&address, sizeof address);
}

template <class Address>
Address as(const endpoint& e) noexcept {
  Address a{};
  std::memcpy(&a, e.native(), std::min(sizeof a, e.native_size()));
  return a;
}

}  // namespace

endpoint endpoint::parse(std::string_view text) {
  if (text.starts_with("unix:")) return parse_unix(text, text.substr(5));
  if (text.starts_with('[')) return parse_ipv6(text);
  return parse_ipv4(text);
}

endpoint endpoint::from_native(const void* address, std::size_t size) noexcept {
  endpoint e;
  sa_family_t family = AF_UNSPEC;
  if (size >= sizeof family) std::memcpy(&family, address, sizeof family);
  const bool known = (family == AF_INET && size >= sizeof(sockaddr_in)) ||
                     (family == AF_INET6 && size >= sizeof(sockaddr_in6)) || family == AF_UNIX;
  if (!known) return e;
  e.size_ = static_cast<std::uint32_t>(family == AF_INET    ? sizeof(sockaddr_in)
                                       : family == AF_INET6 ? sizeof(sockaddr_in6)
                                                            : std::min(size, sizeof(sockaddr_un)));
  std::memcpy(e.bytes_, address, e.size_);
  // The kernel pads what it returns in these; two equal addresses have equal bytes.
  if (family == AF_INET)
    std::memset(e.bytes_ + offsetof(sockaddr_in, sin_zero), 0, sizeof(sockaddr_in::sin_zero));
  if (family == AF_INET6)
    std::memset(e.bytes_ + offsetof(sockaddr_in6, sin6_flowinfo), 0, sizeof(std::uint32_t));
  return e;
}

endpoint::family endpoint::kind() const noexcept {
  switch (as<sockaddr>(*this).sa_family) {
    case AF_INET:
      return family::ipv4;
    case AF_INET6:
      return family::ipv6;
    case AF_UNIX:
      return family::unix_domain;
    default:
      return family::none;
  }
}

std::uint16_t endpoint::port() const noexcept {
  if (kind() == family::ipv4) return ntohs(as<sockaddr_in>(*this).sin_port);
  if (kind() == family::ipv6) return ntohs(as<sockaddr_in6>(*this).sin6_port);
  return 0;
}

std::string_view endpoint::path() const noexcept {
  constexpr std::size_t head = offsetof(sockaddr_un, sun_path);
  if (kind() != family::unix_domain || size_ <= head) return {};
  const char* text = reinterpret_cast<const char*>(bytes_ + head);
  const std::size_t room = size_ - head;
  return text[0] == '\0' ? std::string_view(text, room)
                         : std::string_view(text, strnlen(text, room));
}

std::string to_string(const endpoint& e) {
  char text[INET6_ADDRSTRLEN] = {};
  switch (e.kind()) {
    case endpoint::family::ipv4: {
      const auto a = as<sockaddr_in>(e);
      inet_ntop(AF_INET, &a.sin_addr, text, sizeof text);
      return std::string(text) + ':' + std::to_string(e.port());
    }
    case endpoint::family::ipv6: {
      const auto a = as<sockaddr_in6>(e);
      inet_ntop(AF_INET6, &a.sin6_addr, text, sizeof text);
      const std::string scope = a.sin6_scope_id == 0 ? "" : '%' + std::to_string(a.sin6_scope_id);
      return '[' + std::string(text) + scope + "]:" + std::to_string(e.port());
    }
    case endpoint::family::unix_domain: {
      std::string path(e.path());
      if (path.starts_with('\0')) path[0] = '@';
      return "unix:" + path;
    }
    case endpoint::family::none:
      break;
  }
  return {};
}

bool operator==(const endpoint& a, const endpoint& b) noexcept { return (a <=> b) == 0; }

std::strong_ordering operator<=>(const endpoint& a, const endpoint& b) noexcept {
  if (a.kind() != b.kind()) return a.kind() <=> b.kind();
  if (a.kind() == endpoint::family::unix_domain) return a.path() <=> b.path();
  // By address, then by port: the port comes first in the kernel's record.
  if (a.kind() == endpoint::family::ipv4) {
    const auto x = as<sockaddr_in>(a), y = as<sockaddr_in>(b);
    if (x.sin_addr.s_addr != y.sin_addr.s_addr)
      return ntohl(x.sin_addr.s_addr) <=> ntohl(y.sin_addr.s_addr);
  } else if (a.kind() == endpoint::family::ipv6) {
    const auto x = as<sockaddr_in6>(a), y = as<sockaddr_in6>(b);
    if (const int c = std::memcmp(&x.sin6_addr, &y.sin6_addr, sizeof x.sin6_addr); c != 0)
      return c <=> 0;
    if (x.sin6_scope_id != y.sin6_scope_id) return x.sin6_scope_id <=> y.sin6_scope_id;
  }
  return a.port() <=> b.port();
}

std::size_t endpoint::hash() const noexcept {
  const char* bytes = reinterpret_cast<const char*>(bytes_);
  if (kind() == family::unix_domain) return std::hash<std::string_view>()(path());
  return std::hash<std::string_view>()(std::string_view(bytes, size_));
}

}  // namespace coir
