// Unix-domain datagrams: messages within the machine, in order and never lost.
#pragma once
#include <system_error>
#include <utility>

#include <coir/io/datagram_socket.hpp>
#include <coir/io/socket_file.hpp>

namespace coir {

// Its calls are datagram_socket's. A full receiver makes senders wait. A socket file that bind()
// made is removed when the socket is closed, unless another has taken its place.
class unix_datagram : public datagram_socket {
 public:
  unix_datagram() noexcept = default;

  // Does not wait. Throws std::system_error that names the address.
  static unix_datagram bind(const endpoint&, bind_options = {});
  static unix_datagram bind(const endpoint&, bind_options, std::error_code&);
  static unix_datagram bind(const endpoint& at, std::error_code& e) { return bind(at, {}, e); }
  // With an abstract name of the kernel's choice, to which others can answer.
  static unix_datagram bind();
  static unix_datagram bind(std::error_code&);
  static std::pair<unix_datagram, unix_datagram> pair();  // connected to each other; no addresses
  static std::pair<unix_datagram, unix_datagram> pair(std::error_code&);
  static unix_datagram adopt(handle_type);  // takes over such a socket

  // As in udp_socket.
  void close() noexcept {
    file_.remove();
    handle_.close();
  }
  handle_type release() noexcept {  // the caller's, and so is the socket file
    file_.forget();
    return handle_.release();
  }

 private:
  explicit unix_datagram(io::handle h) noexcept : datagram_socket(std::move(h)) {}

  io::socket_file file_;
};

}  // namespace coir
