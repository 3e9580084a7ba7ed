// Shares HTTP requests among several servers: each goes to one that is well and has the least to
// do. Bodies pass through part by part, so that who reads slowly slows down who sends, and nothing
// piles up here.
//   reverse_proxy --listen 127.0.0.1:8080 --backend 127.0.0.1:8081 --backend 127.0.0.1:8082
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/back_ends.hpp"
#include "common/command_line.hpp"
#include "common/http_connection.hpp"
#include "common/http_options.hpp"
#include "common/http_relay.hpp"
#include "common/serve.hpp"

using namespace std::chrono_literals;
namespace http = boost::beast::http;
using examples::relay;
using examples::relayed;
using error_code = boost::system::error_code;
using client_connection = examples::http_connection<coir::tcp_stream>;
using request_parser = http::request_parser<http::buffer_body>;
using answer_parser = http::response_parser<http::buffer_body>;

namespace {

struct settings : examples::http_settings {
  settings() { limits.body_bytes = 1024 * 1024 * 1024; }
  std::vector<coir::endpoint> servers;
  std::string check_path = "/";
  examples::back_end_times times;
  unsigned tries = 3;
};

struct proxy {
  const settings& given;
  examples::http_service service{given.limits, given.log};
  examples::back_ends servers{given.servers};
};

// One request on its way to its answer.
class exchange {
 public:
  exchange(proxy& p, client_connection& client, request_parser& asked)
      : p_(p), client_(client), asked_(asked), head_(asked.get().base()) {
    const auto method = asked.get().method();
    // What may be sent twice: it means the same then, and its body has not been used up.
    repeatable_ = asked.is_done() && method != http::verb::post && method != http::verb::patch &&
                  method != http::verb::connect && method != http::verb::unknown;
    examples::remove_hop_by_hop(head_);
    head_.erase(http::field::expect);             // the client is invited by us
    if (head_.target().starts_with("http://")) {  // said to a proxy; the server wants the path
      const std::string whole(head_.target());
      const auto path = std::min(whole.find_first_of("/?#", 7), whole.size());
      head_.set(http::field::host, whole.substr(7, path - 7));
      head_.target(whole[path] == '/' ? whole.substr(path) : "/" + whole.substr(path));
    }
    head_.version(11);
    std::string through(head_["X-Forwarded-For"]);
    through += (through.empty() ? "" : ", ") + client.peer_address();
    head_.set("X-Forwarded-For", through);
  }

  void run() {
    std::vector<examples::back_end*> tried;
    while (tried.size() < p_.given.tries) {
      examples::back_end* const server = p_.servers.choose(tried);
      if (server == nullptr) break;
      {
        const examples::back_end::work counted(*server);
        attempt(*server);
      }
      if (failure_ == http::status::unknown) return;
      if (!may_try_again_) break;
      if (!std::exchange(stale_, false)) tried.push_back(server);
    }
    if (!asked_.is_done()) client_.make_last();
    client_.send(examples::plain(
        failure_ == http::status::unknown ? http::status::service_unavailable : failure_));
  }

 private:
  // Sets failure_ unless the client has got an answer, or a part of one and the end.
  void attempt(examples::back_end& server) {
    std::unique_ptr<examples::upstream> up;
    try {
      up = server.connect(fresh_ || !repeatable_, p_.given.times.connect);
    } catch (const std::system_error& e) {
      server.set_well(false, e.what());
      return fail(e.code() == std::errc::timed_out, true);
    }
    up->allow(p_.given.times.answer);
    const auto sent = send_request(*up);
    if (sent == relayed::source_failed) {  // the client: it has gone, or may be told what was wrong
      failure_ = examples::answer_to(client_error_);
      may_try_again_ = false;
      if (failure_ == http::status::unknown) client_.break_off();
      return;
    }
    answer_parser answer;
    error_code error;
    read_head(*up, answer, error);  // also of one that would not hear all of it
    if (error) {
      stale_ = fresh_ = up->used;  // its server closed it while it was idle
      return fail(error == boost::asio::error::timed_out,
                  repeatable_ && error != boost::asio::error::timed_out);
    }
    failure_ = http::status::unknown;
    if (sent == relayed::sink_failed) client_.make_last();
    const bool whole = send_answer(*up, answer);
    if (whole && sent == relayed::all && answer.keep_alive() && up->in.size() == 0)
      server.keep(std::move(up));
  }

  void fail(bool late, bool again) {
    failure_ = late ? http::status::gateway_timeout : http::status::bad_gateway;
    may_try_again_ = again;
  }

  relayed send_request(examples::upstream& up) {
    http::request<http::buffer_body> message(head_);
    if (asked_.chunked()) message.chunked(true);
    if (asked_.content_length()) message.content_length(*asked_.content_length());
    if (!asked_.is_done()) client_.invite(asked_.get());
    const auto next_part = [&](error_code& error) {
      client_.read_part(asked_, error);
      client_error_ = error;
      up.allow(p_.given.times.answer);
    };
    std::uint64_t bytes = 0;
    return relay<true>(asked_, next_part, false, up.stream, message, bytes);
  }

  void read_head(examples::upstream& up, answer_parser& answer, error_code& error) {
    up.allow(p_.given.times.answer);
    answer.header_limit(64 * 1024);
    answer.body_limit(boost::none);
    answer.skip(client_.how().head);
    http::read_header(up.stream, up.in, answer, error);
    if (error) return;
    const auto& head = answer.get();
    const auto coding = head.find(http::field::transfer_encoding);
    if (head.result_int() < 200 ||  // for which nobody has asked
        (coding != head.end() && !boost::beast::iequals(coding->value(), "chunked")))
      error = http::error::bad_status;
  }

  // Whether all of it came from the server.
  bool send_answer(examples::upstream& up, answer_parser& answer) {
    http::response<http::buffer_body> message(answer.get().base());
    examples::remove_hop_by_hop(message);
    message.version(11);
    const bool bodiless = client_.how().head || answer.is_done();
    const bool framed = bodiless || answer.content_length().has_value();
    if (!framed && client_.how().http_1_0) client_.make_last();  // which ends with the connection
    message.chunked(!framed && !client_.how().http_1_0);
    if (answer.content_length() && !answer.chunked() && !message.has_content_length())
      message.content_length(answer.content_length());
    if (!client_.how().keep_alive)
      message.set(http::field::connection, "close");
    else if (client_.how().http_1_0)
      message.set(http::field::connection, "keep-alive");
    coir::asio_stream to(client_.flushed());
    std::uint64_t bytes = 0;
    const auto next_part = [&](error_code& error) {
      up.allow(p_.given.times.answer);
      http::read_some(up.stream, up.in, answer, error);
      if (error == http::error::need_buffer) error = {};
    };
    const auto how = relay<false>(answer, next_part, up.in.size() != 0, to, message, bytes);
    client_.answered(how == relayed::source_failed ? http::status::bad_gateway : message.result(),
                     bytes);
    if (how != relayed::all) client_.break_off();
    return how == relayed::all;
  }

  proxy& p_;
  client_connection& client_;
  request_parser& asked_;
  http::request_header<> head_;
  bool repeatable_ = false, fresh_ = false, stale_ = false, may_try_again_ = false;
  error_code client_error_;
  http::status failure_ = http::status::unknown;  // of the last attempt
};

void talk(coir::tcp_stream peer, proxy& p) {
  client_connection client(peer, p.service);
  for (;;) {
    request_parser asked;
    if (!client.read_header(asked)) return;
    exchange(p, client, asked).run();
  }
}

void serve(const settings& given) {
  proxy p{given};
  coir::task_group health;
  for (const auto& server : p.servers.all())
    health.spawn([&] { server->watch(given.check_path, given.times); });
  coir::server server(coir::tcp_listener::bind(given.listen),
                      [&](coir::tcp_stream peer) { talk(std::move(peer), p); },
                      {.idle_timeout = given.limits.idle_time});
  examples::serve_until_signal(
      server,
      {.name = "reverse_proxy", .grace = given.grace, .on_signal = [&] { p.service.end(); }});
}

}  // namespace

int main(int argc, char** argv) {
  settings s;
  examples::command_line line("reverse_proxy", "shares HTTP requests among several servers.");
  s.add_to(line);
  line.needed("--backend", "ADDRESS:PORT", "one of the servers; to be repeated", s.servers);
  line.option("--check-path", "PATH", "what their health is asked for with (/)", s.check_path);
  line.option("--check-time", "MS", "from one check to the next (2000)", s.times.check);
  line.option("--connect-time", "MS", "for a connection to a server (2000)", s.times.connect);
  line.option("--answer-time", "MS", "for each part of an answer (30000)", s.times.answer);
  line.option("--tries", "N", "servers for a request that may be repeated (3)", s.tries);
  return line.run(argc, argv, [&] { serve(s); });
}
