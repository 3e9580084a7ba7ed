// Boost.Beast's HTTP over coir's streams, unmodified.
#include <coir/interop/asio.hpp>

#include <chrono>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <coir/coir.hpp>

namespace http = boost::beast::http;
using namespace std::chrono_literals;
using boost::system::error_code;

namespace {

using request = http::request<http::string_body>;
using response = http::response<http::string_body>;

// Answers requests until the client ends or says that it will not ask again.
template <class S>
void answer(coir::asio_stream<S>& stream) {
  boost::beast::flat_buffer buffer;
  for (;;) {
    request asked;
    error_code error;
    http::read(stream, buffer, asked, error);
    if (error == http::error::end_of_stream) return;
    if (error) throw boost::system::system_error(error);
    response answered{http::status::ok, asked.version()};
    answered.keep_alive(asked.keep_alive());
    answered.body() = std::string(asked.target()) + ":" + asked.body();
    answered.prepare_payload();
    http::write(stream, answered);
    if (!asked.keep_alive()) return;
  }
}

request get(std::string target, std::string body = {}) {
  request r{http::verb::post, target, 11};
  r.set(http::field::host, "test");
  r.body() = std::move(body);
  r.prepare_payload();
  return r;
}

// A server, and what a client does with it on `workers` workers.
template <class F>
void with_server(unsigned workers, F&& client) {
  coir::options o;
  o.workers = workers;
  coir::run(o, [&] {
    auto listener = coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0"));
    const coir::endpoint at = listener.local();
    coir::server server(std::move(listener), [](coir::tcp_stream s) {
      coir::asio_stream stream(std::move(s));
      answer(stream);
    });
    auto serving = coir::spawn([&] { server.serve(); });
    client(at);
    server.stop(5s);
    serving.get();
  });
}

class HttpTest : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, HttpTest, testing::Values(1, 2, 4, 8));

TEST_P(HttpTest, many_connections_are_kept_alive_and_answered) {
  with_server(GetParam(), [](const coir::endpoint& at) {
    coir::task_group clients;
    for (int c = 0; c < 20; ++c)
      clients.spawn([&at, c] {
        auto tcp = coir::tcp_stream::connect(at);
        coir::asio_stream stream(tcp);  // borrowed
        boost::beast::flat_buffer buffer;
        for (int i = 0; i < 20; ++i) {
          http::write(stream,
                      get("/" + std::to_string(c), std::string(std::size_t(i) * 1000, 'x')));
          response r;
          http::read(stream, buffer, r);
          EXPECT_EQ(r.body(),
                    "/" + std::to_string(c) + ":" + std::string(std::size_t(i) * 1000, 'x'));
        }
        EXPECT_TRUE(tcp.is_open());
      });
    clients.join();
  });
}

TEST_P(HttpTest, pipelined_requests_are_answered_in_order) {
  with_server(GetParam(), [](const coir::endpoint& at) {
    coir::asio_stream stream(coir::tcp_stream::connect(at));
    auto writer = coir::spawn([&] {  // while the other fiber reads
      for (int i = 0; i < 200; ++i) http::write(stream, get("/" + std::to_string(i)));
    });
    boost::beast::flat_buffer buffer;
    for (int i = 0; i < 200; ++i) {
      response r;
      http::read(stream, buffer, r);
      EXPECT_EQ(r.body(), "/" + std::to_string(i) + ":");
    }
    writer.get();
  });
}

TEST_P(HttpTest, a_chunked_body_is_read_as_a_whole) {
  with_server(GetParam(), [](const coir::endpoint& at) {
    coir::asio_stream stream(coir::tcp_stream::connect(at));
    request head{http::verb::post, "/chunks", 11};
    head.set(http::field::host, "test");
    head.chunked(true);
    http::request_serializer<http::string_body> serializer(head);
    http::write_header(stream, serializer);
    for (const std::string part : {"one,", "two,", "three"})
      boost::asio::write(stream, http::make_chunk(boost::asio::buffer(part)));
    boost::asio::write(stream, http::make_chunk_last());
    boost::beast::flat_buffer buffer;
    response r;
    http::read(stream, buffer, r);
    EXPECT_EQ(r.body(), "/chunks:one,two,three");
  });
}

TEST(AsioStreamTest, the_end_of_the_stream_is_asios_eof) {
  coir::run([] {
    auto [a, b] = coir::unix_stream::pair();
    coir::asio_stream stream(a);
    b.write("abc");
    b.close();
    char text[8];
    error_code error;
    EXPECT_EQ(boost::asio::read(stream, boost::asio::buffer(text), error), 3u);
    EXPECT_EQ(error, boost::asio::error::eof);
    EXPECT_THROW(stream.read_some(boost::asio::buffer(text)), boost::system::system_error);
    EXPECT_EQ(stream.read_some(boost::asio::mutable_buffer(), error), 0u);
    EXPECT_FALSE(error);
  });
}

TEST(AsioStreamTest, a_deadline_is_asios_timed_out) {
  coir::run([] {
    auto [a, b] = coir::unix_stream::pair();
    a.set_read_deadline(std::chrono::steady_clock::now() + 10ms);
    coir::asio_stream stream(a);
    char text[8];
    error_code error;
    EXPECT_EQ(stream.read_some(boost::asio::buffer(text), error), 0u);
    EXPECT_EQ(error, boost::asio::error::timed_out);
    EXPECT_EQ(error, boost::system::errc::timed_out);
  });
}

TEST(AsioStreamTest, errors_keep_their_number_and_their_text) {
  coir::run([] {
    auto [a, b] = coir::unix_stream::pair();
    b.close();
    coir::asio_stream stream(a);
    error_code error;
    stream.write_some(boost::asio::buffer("x", 1), error);
    EXPECT_EQ(error, boost::asio::error::broken_pipe);
    a.close();
    stream.write_some(boost::asio::buffer("x", 1), error);
    EXPECT_EQ(error, boost::asio::error::bad_descriptor);
  });
  const std::error_code ours = coir::stream_errc::incomplete_read;
  const error_code theirs = coir::interop::boost_error(ours);
  EXPECT_EQ(theirs.value(), ours.value());
  EXPECT_EQ(theirs.message(), ours.message());
  EXPECT_STREQ(theirs.category().name(), ours.category().name());
  EXPECT_EQ(theirs, coir::interop::boost_error(ours));
}

TEST(AsioStreamTest, a_gathering_write_sends_all_buffers_in_order) {
  coir::run([] {
    auto [a, b] = coir::unix_stream::pair();
    coir::asio_stream stream(a);
    std::vector<std::string> words;
    std::vector<boost::asio::const_buffer> buffers;
    std::string all;
    for (int i = 0; i < 50; ++i) words.push_back(i % 7 == 0 ? "" : std::to_string(i) + ",");
    for (const std::string& w : words) {
      buffers.push_back(boost::asio::buffer(w));
      all += w;
    }
    EXPECT_EQ(boost::asio::write(stream, buffers), all.size());
    a.shutdown_write();
    EXPECT_EQ(coir::reader(b).read_all(), all);
  });
}

TEST(AsioStreamTest, cancellation_goes_through_beast) {
  coir::run([] {
    auto [a, b] = coir::unix_stream::pair();
    coir::event reading;
    bool passed = false;
    auto reader = coir::spawn([&, s = std::move(a)]() mutable {
      coir::asio_stream stream(std::move(s));
      boost::beast::flat_buffer buffer;
      request r;
      error_code error;
      reading.set();
      try {
        http::read(stream, buffer, r, error);
      } catch (const coir::cancelled&) {
        passed = true;
        throw;
      }
    });
    reading.wait();
    reader.cancel();
    EXPECT_THROW(reader.get(), coir::cancelled);
    EXPECT_TRUE(passed);
  });
}

}  // namespace
