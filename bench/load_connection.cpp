#include "load_connection.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {
namespace {

std::string text_of(int error) { return std::system_category().message(error); }

}  // namespace

load_connection::load_connection(std::size_t number, std::size_t size, unsigned depth,
                                 const void* address, std::size_t address_size)
    : number_(number), size_(size), started_(depth) {
  begin_to_connect(address, address_size);
}

void load_connection::begin_to_connect(const void* address, std::size_t address_size) {
  const auto* to = static_cast<const sockaddr*>(address);
  descriptor_ = ::socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor_ == -1) return fail("socket: " + text_of(errno));
  const int on = 1;
  if (times_++ != 0 && to->sa_family == AF_INET &&
      ntohl(reinterpret_cast<const sockaddr_in*>(to)->sin_addr.s_addr) >> 24 == 127)
    take_another_address();
  if (to->sa_family != AF_UNIX) ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(descriptor_, to, static_cast<socklen_t>(address_size)) != 0 && errno != EINPROGRESS)
    fail("connect: " + text_of(errno));
}

// Without it the connection is made all the same.
void load_connection::take_another_address() const noexcept {
  constexpr std::uint32_t addresses = 32;
  const int on = 1;
  ::setsockopt(descriptor_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr =
      htonl(INADDR_LOOPBACK + (static_cast<std::uint32_t>(number_) + times_) % addresses);
  (void)::bind(descriptor_, reinterpret_cast<const sockaddr*>(&from), sizeof from);
}

void load_connection::connect_again(const void* address, std::size_t address_size) {
  close();
  begin_to_connect(address, address_size);
}

load_connection::load_connection(load_connection&& other) noexcept
    : number_(other.number_),
      size_(other.size_),
      descriptor_(std::exchange(other.descriptor_, -1)),
      times_(other.times_),
      due_(other.due_),
      sent_(other.sent_),
      received_(other.received_),
      started_(std::move(other.started_)),
      failure_(std::move(other.failure_)) {}

load_connection::~load_connection() { close(); }

bool load_connection::finish_connecting() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) return true;
  fail("connect: " + text_of(error));
  return false;
}

void load_connection::start_message(std::uint64_t now) noexcept {
  started_[due_ / size_ % started_.size()] = now;
  due_ += size_;
}

load_connection::progress load_connection::send_due(const load_pattern& pattern) {
  while (sent_ < due_) {
    const auto bytes = pattern.at(number_, sent_, static_cast<std::size_t>(due_ - sent_));
    const ssize_t n = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      sent_ += static_cast<std::uint64_t>(n);
    } else if (errno == EAGAIN) {
      return progress::full;
    } else if (errno != EINTR) {
      fail("send: " + text_of(errno));
      return progress::failed;
    }
  }
  return progress::fine;
}

bool load_connection::read_some(const load_pattern& pattern, std::span<std::byte> buffer) {
  const ssize_t n = ::recv(descriptor_, buffer.data(), buffer.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n < 0) return fail("recv: " + text_of(errno)), false;
  if (n == 0) return fail("the server closed the connection"), false;
  const auto got = buffer.first(static_cast<std::size_t>(n));
  if (received_ + got.size() > sent_) return fail("more came back than was sent"), false;
  if (!pattern.matches(number_, received_, got))
    return fail("a wrong byte between " + std::to_string(received_) + " and " +
                std::to_string(received_ + got.size())),
           false;
  received_ += got.size();
  return true;
}

void load_connection::close() noexcept {
  if (descriptor_ != -1) ::close(std::exchange(descriptor_, -1));
}

void load_connection::fail(std::string why) {
  failure_ = "connection " + std::to_string(number_) + ": " + std::move(why);
  close();
}

}  // namespace bench
