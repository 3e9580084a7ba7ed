// The limit of a server on io_uring: one thread, no fibers, no more than echo needs. With
// --idle-poll it looks at its ring for a while before it sleeps.
#include <exception>
#include <vector>

#include <liburing.h>
#include <unistd.h>

#include "../flags.hpp"
#include "../process.hpp"
#include "listening_socket.hpp"

namespace {

using peers::check;

int checked(int negative_error, const char* call) {
  if (negative_error < 0) throw std::system_error(-negative_error, std::system_category(), call);
  return negative_error;
}

// A receive and a send in turn, one of them in flight.
struct connection {
  int socket;
  bool sending = false;
  char buffer[2048];
};

class server {
 public:
  server(int listener, std::uint64_t idle_poll_ns)
      : listener_(listener), idle_poll_ns_(idle_poll_ns) {
    io_uring_params p{};
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    p.cq_entries = 8192;
    checked(io_uring_queue_init_params(4096, &ring_, &p), "io_uring_setup");
    checked(io_uring_register_ring_fd(&ring_), "io_uring_register");
  }

  [[noreturn]] void serve() {
    accept();
    for (;;) {
      wait();
      unsigned head = 0, n = 0;
      io_uring_cqe* done = nullptr;
      io_uring_for_each_cqe(&ring_, head, done) {
        ++n;
        take(*done);
      }
      io_uring_cq_advance(&ring_, n);
    }
  }

 private:
  io_uring_sqe& entry() {
    io_uring_sqe* e = io_uring_get_sqe(&ring_);
    while (e == nullptr) {
      io_uring_submit(&ring_);
      e = io_uring_get_sqe(&ring_);
    }
    return *e;
  }

  void accept() {
    io_uring_sqe& e = entry();
    io_uring_prep_multishot_accept(&e, listener_, nullptr, nullptr, SOCK_CLOEXEC);
    io_uring_sqe_set_data(&e, nullptr);
  }
  void receive(connection& c) {
    c.sending = false;
    io_uring_sqe& e = entry();
    io_uring_prep_recv(&e, c.socket, c.buffer, sizeof c.buffer, 0);
    io_uring_sqe_set_data(&e, &c);
  }
  void send(connection& c, std::size_t size) {
    c.sending = true;
    io_uring_sqe& e = entry();
    io_uring_prep_send(&e, c.socket, c.buffer, size, MSG_NOSIGNAL | MSG_WAITALL);
    io_uring_sqe_set_data(&e, &c);
  }

  void take(const io_uring_cqe& done) {
    auto* c = static_cast<connection*>(io_uring_cqe_get_data(&done));
    if (c == nullptr) {
      if (done.res >= 0) receive(*new connection{done.res, false, {}});
      if ((done.flags & IORING_CQE_F_MORE) == 0) accept();
    } else if (done.res <= 0) {
      ::close(c->socket);
      delete c;
    } else if (c->sending) {
      receive(*c);
    } else {
      send(*c, static_cast<std::size_t>(done.res));
    }
  }

  void wait() {
    if (idle_poll_ns_ != 0) {
      io_uring_submit_and_get_events(&ring_);
      const std::uint64_t end = bench::now_ns() + idle_poll_ns_;
      while (io_uring_cq_ready(&ring_) == 0 && bench::now_ns() < end) io_uring_get_events(&ring_);
      if (io_uring_cq_ready(&ring_) != 0) return;
    }
    io_uring_submit_and_wait(&ring_, 1);
  }

  io_uring ring_;
  const int listener_;
  const std::uint64_t idle_poll_ns_;
};

}  // namespace

int main(int argc, char** argv) try {
  const bench::flags given(
      argc, argv, "[OPTION...]",
      {{"listen", "ADDRESS:PORT", "127.0.0.1:0"}, {"idle-poll", "US", "0: it sleeps at once"}});
  bench::raise_descriptor_limit();
  server(peers::listening_socket(given.text("listen", "127.0.0.1:0"), "uring_echo"),
         given.number("idle-poll", 0) * 1000)
      .serve();
} catch (const std::exception& e) {
  std::fprintf(stderr, "uring_echo: %s\n", e.what());
  return 1;
}
