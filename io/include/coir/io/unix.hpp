// Unix-domain sockets: streams and listeners.
#pragma once
#include <system_error>
#include <utility>

#include <sys/types.h>

#include <coir/io/socket_file.hpp>
#include <coir/io/socket_listener.hpp>
#include <coir/io/socket_stream.hpp>

namespace coir {

// Who is at the other end: its process when it connected or listened.
struct unix_credentials {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// A connection within the machine; its calls are socket_stream's.
class unix_stream : public socket_stream {
 public:
  unix_stream() noexcept = default;
  explicit unix_stream(io::handle h) noexcept : socket_stream(std::move(h)) {}

  static unix_stream connect(const endpoint&);  // waits; as tcp_stream::connect
  static unix_stream connect(const endpoint&, std::error_code&);
  static unix_stream adopt(handle_type);
  static std::pair<unix_stream, unix_stream> pair();  // connected to each other
  static std::pair<unix_stream, unix_stream> pair(std::error_code&);

  // Who was at the other end when it connected, listened or made the pair (SO_PEERCRED, unix(7)).
  // The kernel vouches for it. Does not wait.
  unix_credentials peer_credentials() const;
  unix_credentials peer_credentials(std::error_code&) const;

  // Gives the peer a descriptor of its own for the open file; the caller keeps his. Waits as write
  // does. Errors: bad_file_descriptor, ETOOMANYREFS (too many are under way).
  void send_handle(handle_type);
  void send_handle(handle_type, std::error_code&);

  // Waits for the next of them, which is the caller's, close-on-exec; -1: the end of the stream. It
  // comes with a byte of the stream, so both sides have to agree on when: bad_message if what comes
  // is no handle, or several, which are closed. too_many_files_open: the process can have no more,
  // and this one is lost.
  handle_type receive_handle();
  handle_type receive_handle(std::error_code&);
};

// A socket file that bind() made is removed when the listener is closed, unless another has taken
// its place.
class unix_listener : public socket_listener {
 public:
  unix_listener() noexcept = default;

  static unix_listener bind(const endpoint&, listen_options = {});
  static unix_listener bind(const endpoint&, listen_options, std::error_code&);
  static unix_listener bind(const endpoint& e, std::error_code& error) {
    return bind(e, {}, error);
  }
  static unix_listener adopt(handle_type);

  unix_stream accept();
  unix_stream accept(std::error_code&);
  void close() noexcept;
  handle_type release() noexcept {  // the caller's, and so is the socket file
    file_.forget();
    return socket_listener::release();
  }

  using stream_type = unix_stream;

 private:
  explicit unix_listener(io::handle h) noexcept : socket_listener(std::move(h)) {}

  io::socket_file file_;
};

}  // namespace coir
