// The server's side of an HTTP connection: requests come out of Boost.Beast's parser one by one,
// with limits on their size and their time; answers go out together when there is nothing left to
// read.
//   examples::http_connection client(stream, service);
//   while (const auto* request = client.next()) client.send({.body = "hello"});
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <coir/coir.hpp>
#include <coir/interop/asio.hpp>

#include "http_reply.hpp"
#include "http_service.hpp"
#include "throwing.hpp"

namespace examples {

// What a request that the parser lets pass must not be; unknown: nothing is wrong with it.
http::status objection_to(const http::request_header<>&);
// What to answer to what the parser did not let pass; unknown: nobody is there to be answered.
http::status answer_to(const boost::system::error_code&);

template <coir::byte_stream S>
class http_connection final : http_service::guest {
 public:
  http_connection(S& stream, http_service& service)
      : stream_(stream),
        below_(stream),
        service_(service),
        in_(service.limits.header_bytes + 4096),
        peer_(service.log.name_of(stream)) {
    in_.reserve(4096);
    ++service_.connections;
    service_.enter(*this);
  }
  ~http_connection() { service_.leave(*this); }

  // The next request with its body, valid until the next call. Null: there is none, because the
  // client has ended, or was told what was wrong with it, or the server ends.
  const request* next() {
    parser_.emplace();
    return read_header(*parser_) && read_body(*parser_) ? &parser_->get() : nullptr;
  }

  // The two halves of next(), for bodies that are read in parts.
  template <class Body>
  bool read_header(http::request_parser<Body>& parser) {
    if (!manner_.keep_alive) return end(true);
    parser.header_limit(service_.limits.header_bytes);
    parser.body_limit(service_.limits.body_bytes);
    waiting_ = in_.size() == 0;
    boost::system::error_code error;
    from_client in{*this, service_.limits.header_time};
    http::read_header(in, in_, parser, error);
    if (waiting_)
      return end(!service_.ending() && (!error || error == boost::asio::error::timed_out));
    in.disarm();
    const auto& head = parser.get();
    manner_ = {.http_1_0 = parser.is_header_done() && head.version() == 10,
               .keep_alive = !error && parser.keep_alive() && !service_.ending(),
               .head = head.method() == http::verb::head};
    if (service_.log.wanted()) note(head);
    ++service_.requests;
    if (error) return refuse(answer_to(error));
    const auto objection = objection_to(head);
    return objection == http::status::unknown || refuse(objection);
  }
  template <class Body>
  bool read_body(http::request_parser<Body>& parser) {
    if (parser.is_done()) return true;
    invite(parser.get());
    boost::system::error_code error;
    from_client in{*this, service_.limits.body_time};
    http::read(in, in_, parser, error);
    in.disarm();
    return !error || refuse(answer_to(error));
  }
  // Some more of a body that is read in parts, into where the parser's body points; what came is
  // gone from there. The limit on time counts for each part.
  void read_part(http::request_parser<http::buffer_body>& parser,
                 boost::system::error_code& error) {
    from_client in{*this, service_.limits.body_time};
    http::read_some(in, in_, parser, error);
    in.disarm();
    if (error == http::error::need_buffer) error = {};
  }
  // Tells a client that asked for it (RFC 9110, 10.1.1) to send the body.
  template <class Fields>
  void invite(const http::header<true, Fields>& head) {
    if (head.version() == 11 && in_.size() == 0 &&
        boost::beast::iequals(head[http::field::expect], "100-continue"))
      out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  }

  // The answer to the last request.
  void send(const reply& r) {
    begin(r, r.body.size());
    if (!manner_.head) out_ += r.body;
  }
  // One that is written to flushed() by somebody else: its line in the log.
  void answered(http::status status, std::uint64_t bytes) {
    service_.log.add(peer_, line_, static_cast<unsigned>(status), bytes);
  }
  // The head of one whose body, of that length, then goes to append() or to flushed().
  void begin(const reply& r, std::uint64_t length) {
    append_head(out_, r, length, manner_, date_.now());
    answered(r.status, manner_.head ? 0 : length);
    if (out_.size() > most_gathered) flush();
  }
  void append(std::string_view part) {
    out_ += part;
    if (out_.size() > most_gathered) flush();
  }
  // The stream itself, with nothing left to be sent before. Not open if the client has gone.
  S& flushed() {
    flush();
    return stream_;
  }
  // An answer that cannot be finished.
  void break_off() {
    manner_.keep_alive = false;
    stream_.close();
  }

  std::string peer_address() const {  // without its port; "unknown": it has gone
    std::error_code error;
    const std::string all = to_string(stream_.remote(error));
    return error ? "unknown" : all.substr(0, all.rfind(':'));
  }
  bool is_open() const { return stream_.is_open(); }
  const manner& how() const { return manner_; }
  void make_last() { manner_.keep_alive = false; }  // the answer that has not begun yet

 private:
  static constexpr std::size_t most_gathered = 256 * 1024;

  // Asio's SyncReadStream for a part of a request, which has a limit in time. A part that is there
  // already, as most are, costs no deadline.
  struct from_client {
    http_connection& c;
    const std::chrono::milliseconds limit;
    bool armed = false;

    template <class Buffers>
    std::size_t read_some(const Buffers& into, boost::system::error_code& error) {
      c.flush();
      if (std::exchange(c.waiting_, false)) return c.wait(into, error);
      if (!std::exchange(armed, true)) c.read_until(coir::clock::now() + limit);
      return c.below_.read_some(into, error);
    }
    template <class Buffers>
    std::size_t read_some(const Buffers& into) {
      return throwing([&](auto& error) { return read_some(into, error); });
    }
    void disarm() {
      if (armed) c.read_until(coir::clock::time_point::max());
    }
  };

  // For the first bytes of a request.
  template <class Buffers>
  std::size_t wait(const Buffers& into, boost::system::error_code& error) {
    service_.begin_wait(*this);
    const std::size_t n = below_.read_some(into, error);
    service_.end_wait(*this);
    waiting_ = n == 0;
    return n;
  }
  void read_until(coir::clock::time_point t) override { stream_.set_read_deadline(t); }

  void flush() {
    if (out_.empty()) return;
    std::error_code error;
    stream_.write(out_, error);
    out_.clear();
    if (error) break_off();
  }

  template <class Head>
  void note(const Head& head) {
    line_ = head.target().empty()
                ? "-"
                : std::string(head.method_string()) + " " + std::string(head.target());
  }
  bool refuse(http::status why) {
    manner_.keep_alive = false;
    if (why != http::status::unknown)
      send(plain(why));
    else
      service_.log.add(peer_, line_, 499, 0);  // as nginx numbers who went away
    return end(why != http::status::unknown);
  }
  // The last answers go out. What the client still sends is dropped, so that they meet no reset.
  bool end(bool client_is_there) {
    flush();
    std::error_code error;
    stream_.shutdown_write(error);
    read_until(coir::clock::now() + std::chrono::seconds(1));
    char dropped[4096];
    for (int i = 0; client_is_there && !error && i < 256; ++i)
      if (stream_.read_some(dropped, error) == 0) break;
    stream_.close();
    return false;
  }

  S& stream_;
  coir::asio_stream<S&> below_;
  http_service& service_;
  boost::beast::flat_buffer in_;
  std::string out_;
  std::optional<http::request_parser<http::string_body>> parser_;
  manner manner_;
  bool waiting_ = false;  // for the first bytes of a request
  date_line date_;
  const std::string peer_;  // these two are for the log
  std::string line_;
};

}  // namespace examples
