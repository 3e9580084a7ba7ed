// The echo server as Boost.Asio programs have it: a chain of callbacks or a C++20 coroutine for
// each connection.
//   asio_echo --listen 127.0.0.1:7777 --workers 1 [--coroutines]
#include <array>
#include <cstdio>
#include <exception>
#include <memory>
#include <thread>
#include <vector>

#include <boost/asio.hpp>

#include "../flags.hpp"
#include "../process.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class session : public std::enable_shared_from_this<session> {
 public:
  explicit session(tcp::socket peer) : peer_(std::move(peer)) {}

  void read() {
    peer_.async_read_some(asio::buffer(buffer_),
                          [self = shared_from_this()](error_code failed, std::size_t n) {
                            if (!failed) self->write(n);
                          });
  }

 private:
  void write(std::size_t n) {
    asio::async_write(peer_, asio::buffer(buffer_, n),
                      [self = shared_from_this()](error_code failed, std::size_t) {
                        if (!failed) self->read();
                      });
  }

  tcp::socket peer_;
  std::array<char, 4096> buffer_;
};

asio::awaitable<void> serve(tcp::socket peer) try {
  std::array<char, 4096> buffer;
  for (;;) {
    const std::size_t n = co_await peer.async_read_some(asio::buffer(buffer), asio::use_awaitable);
    co_await asio::async_write(peer, asio::buffer(buffer, n), asio::use_awaitable);
  }
} catch (const boost::system::system_error&) {  // the connection has ended
}

void accept(asio::io_context& context, tcp::acceptor& listener, bool coroutines) {
  listener.async_accept(asio::make_strand(context),
                        [&, coroutines](error_code failed, tcp::socket peer) {
                          if (!failed) {
                            peer.set_option(tcp::no_delay(true));
                            if (coroutines) {
                              auto where = peer.get_executor();
                              asio::co_spawn(where, serve(std::move(peer)), asio::detached);
                            } else {
                              std::make_shared<session>(std::move(peer))->read();
                            }
                          }
                          accept(context, listener, coroutines);
                        });
}

}  // namespace

int main(int argc, char** argv) try {
  const bench::flags given(argc, argv, "[OPTION...]",
                           {{"listen", "ADDRESS:PORT", "127.0.0.1:0"},
                            {"workers", "N", "threads: 1"},
                            {"coroutines", "", "in the place of callbacks"}});
  bench::raise_descriptor_limit();
  const std::string where = given.text("listen", "127.0.0.1:0");
  const auto colon = where.rfind(':');
  const auto workers = static_cast<int>(given.number("workers", 1));
  asio::io_context context(workers);
  tcp::acceptor listener(context,
                         {asio::ip::make_address(where.substr(0, colon)),
                          static_cast<unsigned short>(std::stoi(where.substr(colon + 1)))});
  listener.listen(4096);
  std::printf("asio_echo: 127.0.0.1:%u\n", unsigned{listener.local_endpoint().port()});
  std::fflush(stdout);
  accept(context, listener, given.has("coroutines"));
  std::vector<std::jthread> others;
  for (int i = 1; i < workers; ++i) others.emplace_back([&context] { context.run(); });
  context.run();
} catch (const std::exception& e) {
  std::fprintf(stderr, "asio_echo: %s\n", e.what());
  return 1;
}
