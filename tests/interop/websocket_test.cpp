// Boost.Beast's WebSocket over coir's streams, unmodified.
#include <chrono>
#include <string>

#include <gtest/gtest.h>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <coir/coir.hpp>
#include <coir/interop/asio.hpp>

namespace beast = boost::beast;
namespace websocket = beast::websocket;
using namespace std::chrono_literals;
using boost::system::error_code;

namespace {

using socket = websocket::stream<coir::asio_stream<coir::tcp_stream>>;

// Says everything twice, until the peer closes.
void echo(coir::tcp_stream s) {
  socket ws{coir::asio_stream(std::move(s))};
  ws.accept();
  for (;;) {
    beast::flat_buffer buffer;
    error_code error;
    ws.read(buffer, error);
    if (error == websocket::error::closed) return;
    if (error) throw boost::system::system_error(error);
    ws.text(ws.got_text());
    ws.write(buffer.data());
  }
}

class WebsocketTest : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, WebsocketTest, testing::Values(1, 2, 4, 8));

TEST_P(WebsocketTest, messages_of_all_sizes_come_back_and_the_close_is_clean) {
  coir::options o;
  o.workers = GetParam();
  coir::run(o, [] {
    auto listener = coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0"));
    const coir::endpoint at = listener.local();
    coir::server server(std::move(listener), echo);
    auto serving = coir::spawn([&] { server.serve(); });
    coir::task_group clients;
    for (int c = 0; c < 10; ++c)
      clients.spawn([&at] {
        socket ws{coir::asio_stream(coir::tcp_stream::connect(at))};
        ws.handshake("test", "/");
        for (const std::size_t size : {0, 1, 125, 126, 65'535, 65'536, 300'000}) {
          const std::string sent(size, 'x');
          ws.write(boost::asio::buffer(sent));
          beast::flat_buffer buffer;
          ws.read(buffer);
          EXPECT_EQ(beast::buffers_to_string(buffer.data()), sent);
        }
        error_code error;
        ws.close(websocket::close_code::normal, error);
        EXPECT_FALSE(error) << error.message();
      });
    clients.join();
    server.stop(5s);
    serving.get();
  });
}

}  // namespace
