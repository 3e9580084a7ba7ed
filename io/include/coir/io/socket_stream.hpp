// What tcp_stream and unix_stream have in common: a connected socket as a stream of bytes.
#pragma once
#include <string>
#include <system_error>
#include <utility>

#include <coir/io/descriptor_stream.hpp>
#include <coir/io/endpoint.hpp>

namespace coir {

// What TCP and Unix-domain streams have in common, beyond the members of every stream.
class socket_stream : public descriptor_stream {
 public:
  // The peer reads the end of the stream; reading goes on. Does not wait.
  void shutdown_write();
  void shutdown_write(std::error_code&);

  endpoint local() const;
  endpoint local(std::error_code&) const;
  endpoint remote() const;
  endpoint remote(std::error_code&) const;

 protected:
  socket_stream() noexcept = default;
  explicit socket_stream(io::handle h) noexcept : descriptor_stream(std::move(h)) {}
  void set_option(int level, int name, int value, std::error_code&);
};

namespace io {

// A socket connected to an address of one of the families; a closed handle and `error` otherwise.
enum class transport : unsigned char { tcp, unix_domain };
handle connect(const endpoint&, transport, std::error_code& error);
handle adopt(handle_type);  // throws std::system_error if that is no open descriptor

}  // namespace io
}  // namespace coir
