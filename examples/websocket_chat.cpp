// A chat room in the browser: the page over HTTP, the lines over WebSocket, both by Boost.Beast.
//   websocket_chat --listen 127.0.0.1:8090        and then open http://127.0.0.1:8090
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/websocket.hpp>

#include "common/command_line.hpp"
#include "common/http_connection.hpp"
#include "common/serve.hpp"
#include "websocket_frames.hpp"
#include "websocket_page.hpp"
#include "websocket_room.hpp"

using namespace std::chrono_literals;
using boost::system::error_code;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;

namespace {

constexpr std::size_t longest_name = 40, longest_line = 4000;

struct settings {
  coir::endpoint listen = coir::endpoint::parse("127.0.0.1:8090");
  unsigned kept = 100;          // lines for who comes late
  unsigned most_waiting = 500;  // lines that a client may leave unread
  std::chrono::milliseconds ping{20'000};
};

using socket = websocket::stream<chat::frames>;

// A message as text; empty: there is none, or none that is for us.
std::string read_line(socket& ws, error_code& error) {
  beast::flat_buffer in;
  ws.read(in, error);
  if (error || !ws.got_text()) return {};
  return beast::buffers_to_string(in.data());
}

// What others say, and now and then a ping: who only listens shows by its answer that it is there.
void tell(socket& ws, chat::guest& me, std::chrono::milliseconds pause) {
  auto ping_at = coir::clock::now() + pause;
  for (error_code error; !error;) {
    const chat::line l = me.next(ping_at);
    if (me.overflowed()) break;
    if (l)
      ws.write(boost::asio::buffer(*l), error);
    else if (me.dismissed())
      return ws.next_layer().end(websocket::close_code::going_away);
    if (const auto now = coir::clock::now(); !error && now >= ping_at) {
      ws.ping({}, error);
      ping_at = now + pause;
    }
  }
  ws.next_layer().stream().close();  // nothing can be said any more, so nothing is heard
}

// In the room for as long as it lives.
class presence {
 public:
  presence(chat::room& all, chat::guest& me, const std::string& name)
      : all_(all), me_(me), name_(name) {
    all_.enter(me_);
    all_.say({}, name_ + " has come");
  }
  ~presence() {
    all_.leave(me_);
    if (me_.overflowed()) std::fprintf(stderr, "websocket_chat: %s does not read\n", name_.c_str());
    all_.say({}, name_ + " has gone");
  }
  presence(const presence&) = delete;
  presence& operator=(const presence&) = delete;

 private:
  chat::room& all_;
  chat::guest& me_;
  const std::string& name_;
};

// Two fibers use the websocket, reading and writing. It is made for one thread, so they stay on one
// worker, and only switch where they wait for the stream.
void talk(coir::tcp_stream& stream, const examples::request& asked, const settings& given,
          chat::room& all) {
  const coir::pin_guard here;
  socket ws(stream, 2 * given.ping + 500ms);
  ws.read_message_max(longest_line);
  error_code error;
  ws.accept(asked, error);
  if (error) return;
  const std::string name = read_line(ws, error);
  if (error) return;
  if (name.empty() || name.size() > longest_name)
    return ws.close({websocket::close_code::policy_error, "that is no name"}, error);
  chat::guest me(stream, given.most_waiting + given.kept);
  const presence here_is(all, me, name);
  const auto telling = coir::spawn(coir::spawn_options{.name = "tell " + name, .pinned = true},
                                   [&] { tell(ws, me, given.ping); });
  while (!error)
    if (const std::string text = read_line(ws, error); !error && !text.empty()) all.say(name, text);
}

// A page of somebody else's must not speak for who looks at it.
bool of_our_page(const examples::request& asked) {
  const std::string origin(asked[http::field::origin]), host(asked[http::field::host]);
  return origin.empty() || origin == "http://" + host || origin == "https://" + host;
}

void welcome(coir::tcp_stream stream, const settings& given, examples::http_service& service,
             chat::room& all) {
  examples::http_connection client(stream, service);
  while (const examples::request* asked = client.next()) {
    const std::string path = examples::path_of({asked->target().data(), asked->target().size()});
    if (path == "/ws" && websocket::is_upgrade(*asked) && of_our_page(*asked)) {
      talk(client.flushed(), *asked, given, all);
      return client.break_off();
    }
    if (path == "/ws")
      client.send(examples::plain(http::status::forbidden));
    else if (path != "/")
      client.send(examples::plain(http::status::not_found));
    else
      client.send(
          {.type = "text/html; charset=utf-8", .body = std::string(chat_page), .headers = {}});
  }
}

void serve(const settings& given) {
  examples::http_service service({}, "none");
  chat::room all(given.kept);
  coir::server server(
      coir::tcp_listener::bind(given.listen),
      [&](coir::tcp_stream stream) { welcome(std::move(stream), given, service, all); },
      {.max_connections = 1000});
  examples::serve_until_signal(server, {.name = "websocket_chat", .grace = 3s, .on_signal = [&] {
                                          service.end();
                                          all.close();
                                        }});
}

}  // namespace

int main(int argc, char** argv) {
  settings given;
  examples::command_line line("websocket_chat", "a chat room in the browser");
  line.option("--listen", "ADDRESS:PORT", "where browsers connect", given.listen);
  line.option("--keep", "LINES", "for those who come late", given.kept);
  line.option("--unread", "LINES", "a client that leaves more unread is cut off",
              given.most_waiting);
  line.option("--ping", "MS", "between pings; who is silent twice as long is cut off", given.ping);
  return line.run(argc, argv, [&] { serve(given); });
}
