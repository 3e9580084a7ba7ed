// The address of a socket: IPv4, IPv6 or Unix-domain.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace coir {

// A value of fixed size that allocates nothing. A default-constructed one names no address. Any
// thread.
class endpoint {
 public:
  enum class family : std::uint8_t { none, ipv4, ipv6, unix_domain };

  endpoint() noexcept = default;

  // "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/run/x.sock", "unix:@abstract". Asks no
  // name server. Throws std::invalid_argument that quotes the text and says what is expected.
  static endpoint parse(std::string_view text);

  // From and to the kernel's sockaddr. An address of an unknown family gives one that names no
  // address.
  static endpoint from_native(const void* address, std::size_t size) noexcept;
  const void* native() const noexcept { return bytes_; }
  std::size_t native_size() const noexcept { return size_; }

  family kind() const noexcept;
  std::uint16_t port() const noexcept;  // 0: none, or a Unix-domain address
  std::string_view path()
      const noexcept;  // Unix-domain: the path; an abstract name begins with NUL

  // What parse() takes; "" for no address.
  friend std::string to_string(const endpoint&);
  friend bool operator==(const endpoint&, const endpoint&) noexcept;
  friend std::strong_ordering operator<=>(const endpoint&, const endpoint&) noexcept;
  std::size_t hash() const noexcept;

 private:
  static constexpr std::size_t capacity = 112;  // sockaddr_un, the largest

  alignas(8) std::byte bytes_[capacity] = {};
  std::uint32_t size_ = 0;
};

}  // namespace coir

template <>
struct std::hash<coir::endpoint> {
  std::size_t operator()(const coir::endpoint& e) const noexcept { return e.hash(); }
};
