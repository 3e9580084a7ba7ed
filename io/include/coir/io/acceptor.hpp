// Accepting connection after connection: what server is made of. Where the kernel can, it accepts
// ahead.
#pragma once
#include <memory>
#include <system_error>

#include <coir/io/handle.hpp>

namespace coir::io {

class accept_queue;
class io_call;

// One fiber, which accepts for as long as the acceptor lives. Its destructor waits, shielded, until
// the kernel has let go of the listener, closes what nobody took, and shuts the listener down if
// the kernel accepted ahead.
class acceptor {
 public:
  // ahead: the kernel may accept more than has been asked for.
  acceptor(handle& listener, bool ahead, std::error_code& error);
  ~acceptor();
  acceptor(const acceptor&) = delete;
  acceptor& operator=(const acceptor&) = delete;

  // Waits for a connection. Errors as tcp_listener::accept. Throws coir::cancelled.
  handle next(std::error_code& error);

 private:
  handle next_ahead(std::error_code& error);

  handle& listener_;
  std::unique_ptr<io_call> call_;
  std::unique_ptr<accept_queue> queue_;  // null: one by one
};

}  // namespace coir::io
