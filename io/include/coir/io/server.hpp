// A server: a fiber for each connection, a cap on their number, and an orderly end.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <coir/io/handle.hpp>
#include <coir/io/socket_listener.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/task.hpp>

namespace coir {

struct serve_options {
  std::size_t max_connections = 0;  // more wait in the kernel's backlog; 0: no limit
  // What keeps the server from accepting, once for each time it lasts: out of descriptors or
  // memory. Default: a line on stderr. Accepting is tried again after 5 ms, then twice that, up to
  // a second.
  std::function<void(std::error_code)> on_shortage = {};
};

namespace io {

// What of a server does not depend on its types.
class server_core {
 public:
  server_core(handle& listener, serve_options options);
  ~server_core();
  server_core(const server_core&) = delete;
  server_core& operator=(const server_core&) = delete;

  // In the connection's fiber; its destructor is the connection's end, whether it ran or not.
  class connection;
  class ticket {
   public:
    explicit ticket(connection* c) noexcept : c_(c) {}
    ticket(ticket&& other) noexcept : c_(std::exchange(other.c_, nullptr)) {}
    ticket& operator=(ticket&&) = delete;
    ~ticket();

   private:
    connection* c_;
  };

  using starter = task<void> (*)(void* server, ticket, handle);
  void serve(starter start, void* server);
  void stop(clock::time_point grace_ends);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace io

// L: tcp_listener or unix_listener. H: called with the stream, on a fiber of its own for each
// connection; an error that leaves it reaches options::on_unhandled and ends that connection alone.
template <class L, class H>
class server {
 public:
  using stream_type = typename L::stream_type;

  server(L listener, H handler, serve_options options = {})
      : listener_(std::move(listener)),
        handler_(std::move(handler)),
        core_(listener_.io_handle(), std::move(options)) {}
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() = default;  // nobody is in serve() or stop()

  // Accepts until stop() or an error of the listener; returns when all handlers have ended.
  // Cancelled, or failing, it cancels the handlers and waits for them first. Throws
  // std::system_error, coir::cancelled. One fiber, once.
  void serve() { core_.serve(&start, this); }

  // Accepts no more; waits until the handlers have ended; after `grace` cancels them and waits on.
  // Any fiber, any number of times; a handler must not call it, because it would wait for itself.
  template <class Rep, class Period>
  void stop(std::chrono::duration<Rep, Period> grace) {
    core_.stop(sched::deadline_after(grace));
  }

  const L& listener() const noexcept { return listener_; }

 private:
  struct job {
    io::server_core::ticket ticket;  // first, so that it goes last
    server* of;
    stream_type stream;
    void operator()() { of->handler_(std::move(stream)); }
  };
  static task<void> start(void* self, io::server_core::ticket ticket, io::handle h) {
    return spawn(job{std::move(ticket), static_cast<server*>(self), stream_type(std::move(h))});
  }

  L listener_;
  H handler_;
  io::server_core core_;
};

}  // namespace coir
