// A server: a fiber for each connection, limits on their number and their idleness, an orderly end.
#pragma once
#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include <coir/io/handle.hpp>
#include <coir/io/socket_listener.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/task.hpp>

namespace coir {

// What a server can serve: tcp_listener, unix_listener, or a class of the user's whose accept waits
// for one connection and fails once close() has been called.
template <class L>
concept listener = std::movable<L> && requires(L& l, std::error_code& ec) {
  { l.accept(ec) } -> std::movable;
  l.close();
};

// What a server allows its clients.
struct serve_options {
  std::size_t max_connections = 0;  // more wait in the kernel's backlog; 0: no limit
  // A client that lets its handler wait: if a read or write has waited for so long and no byte has
  // moved either way, the calls of that stream give timed_out, as after set_read_deadline. Looked
  // at four times in this span, so it may be a quarter more. What trickles in is not idle: for a
  // whole request there is with_timeout. Sockets only.
  std::chrono::milliseconds idle_timeout = std::chrono::milliseconds::max();
  // What keeps the server from accepting, once for each time it lasts: out of descriptors or
  // memory. Default: a line on stderr. Accepting is tried again after 5 ms, then twice that, up to
  // a second.
  std::function<void(std::error_code)> on_shortage = {};
  // As idle_timeout, while stop() waits, and counted from then on: who sends nothing any more is
  // not waited for until the grace ends. Where clients stay connected between two requests, long
  // enough to tell one that is silent from one in the middle of a request: 100 ms, say.
  std::chrono::milliseconds idle_at_stop = std::chrono::milliseconds::max();
};

namespace io {

// What of a server does not depend on its types.
class server_core {
 public:
  // How it gets its connections and ends that: by a socket's handle, or by calls of the server's.
  struct source {
    handle* socket = nullptr;
    void (*accept)(void* server, std::error_code&) = nullptr;  // keeps it for starter
    void (*close)(void* server) = nullptr;
  };
  server_core(source from, serve_options options);
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
  void stop(clock::time_point grace_ends, void* server);

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace io

// H: called with the stream, on a fiber of its own for each connection; an error that leaves it
// reaches options::on_unhandled and ends that connection alone. What a stream needs before it can
// be used (a TLS handshake: tls_stream::accept) is done there, so that a slow client delays nobody.
template <listener L, class H>
class server {
 public:
  using stream_type = decltype(std::declval<L&>().accept(std::declval<std::error_code&>()));

  static_assert(std::invocable<H&, stream_type>,
                "coir::server: the handler is called with the stream of the connection, which is "
                "its own: take it by value");

  server(L listener, H handler, serve_options options = {})
      : listener_(std::move(listener)),
        handler_(std::move(handler)),
        core_(source(), std::move(options)) {}
  server(const server&) = delete;
  server& operator=(const server&) = delete;
  ~server() = default;  // nobody is in serve() or stop()

  // Accepts until stop() or an error of the listener; returns when all handlers have ended.
  // Cancelled, or failing, it cancels the handlers and waits for them first. Throws
  // std::system_error, coir::cancelled. One fiber, once.
  void serve() { core_.serve(&start, this); }

  // Lets in who is at the door, for a second at most, and then nobody; waits until the handlers
  // have ended; after `grace` cancels them and waits on. A handler that waits for its client to ask
  // again, which it may never do, is one of them, for the server does not know what is a request:
  // serve_options::idle_at_stop. A protocol that knows it gives such reads a deadline that has
  // passed. Any fiber, any number of times; a handler must not call it, because it would wait for
  // itself.
  template <class Rep, class Period>
  void stop(std::chrono::duration<Rep, Period> grace) {
    core_.stop(sched::deadline_after(grace), this);
  }

  const L& listener() const noexcept { return listener_; }

 private:
  static constexpr bool of_socket = std::derived_from<L, socket_listener>;

  struct job {
    io::server_core::ticket ticket;  // first, so that it goes last
    server* of;
    stream_type stream;
    void operator()() { of->handler_(std::move(stream)); }
  };
  static task<void> start(void* self, io::server_core::ticket ticket, io::handle h) {
    auto* s = static_cast<server*>(self);
    if constexpr (of_socket) {
      return spawn(job{std::move(ticket), s, stream_type(std::move(h))});
    } else {
      stream_type taken = std::move(*s->accepted_);
      s->accepted_.reset();
      return spawn(job{std::move(ticket), s, std::move(taken)});
    }
  }
  io::server_core::source source() {
    if constexpr (of_socket)
      return {.socket = &listener_.io_handle()};
    else
      return {.accept =
                  [](void* self, std::error_code& error) {
                    auto* s = static_cast<server*>(self);
                    s->accepted_.emplace(s->listener_.accept(error));
                  },
              .close = [](void* self) { static_cast<server*>(self)->listener_.close(); }};
  }

  L listener_;
  H handler_;
  std::optional<stream_type> accepted_;  // between accept and start; serve()'s, no socket's
  io::server_core core_;
};

}  // namespace coir
