// copy and copy_both_ways: what arrives, how they end, what they leave.
#include <random>

#include <sys/socket.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class copy_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, copy_test, every_rung(), rung_name);

std::string pattern(std::size_t size) {
  std::string v(size, '\0');
  for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
  return v;
}
template <class S>
std::string all_of(S& s) {
  return reader(s).read_all();
}
// The peer then sees a reset instead of an end.
void reset(tcp_stream s) {
  const linger at_once{1, 0};
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}
bool is_reset(const std::error_code& e) {
  return e == std::errc::connection_reset || e == std::errc::broken_pipe;
}

// A byte_stream that has no more than the concept asks for, and moves three bytes at a time.
struct least {
  std::string to_read, written;
  bool ended = false;

  std::size_t read_some(std::span<std::byte> into) { return take(into); }
  std::size_t read_some(std::span<std::byte> into, std::error_code& e) {
    e.clear();
    return take(into);
  }
  std::size_t write_some(std::span<const std::byte> from) {
    const std::size_t n = std::min<std::size_t>(from.size(), 3);
    written.append(reinterpret_cast<const char*>(from.data()), n);
    return n;
  }
  std::size_t write_some(std::span<const std::byte> from, std::error_code& e) {
    e.clear();
    return write_some(from);
  }
  void write(std::span<const std::byte>) { std::abort(); }
  void write(std::span<const std::byte>, std::error_code&) { std::abort(); }
  void shutdown_write() {
    ended = true;
    if (written == "fail") throw std::system_error(make_error_code(std::errc::io_error));
  }
  void close() {}
  bool is_open() const { return true; }

 private:
  std::size_t take(std::span<std::byte> into) {
    const std::size_t n = std::min<std::size_t>({into.size(), 3, to_read.size()});
    std::copy_n(reinterpret_cast<const std::byte*>(to_read.data()), n, into.begin());
    to_read.erase(0, n);
    return n;
  }
};
static_assert(byte_stream<least> && byte_source<least> && byte_sink<least>);

TEST_P(copy_test, copies_to_the_end_and_counts) {
  on_fiber([] {
    for (const std::size_t size : {0, 1, 4096, 4097, 1'000'000}) {
      auto [source, from] = tcp_pair();
      auto [to, sink] = unix_stream::pair();
      const std::string all = pattern(size);
      auto sending = spawn([&, &source = source] {
        source.write(all);
        source.shutdown_write();
      });
      auto reading = spawn([&sink = sink] { return all_of(sink); });
      EXPECT_EQ(copy(from, to), size);
      to.write("!");  // it is still open for writing
      to.shutdown_write();
      EXPECT_TRUE(reading.get() == all + "!");
      sending.get();
    }
  });
}

TEST_P(copy_test, takes_any_stream) {
  on_fiber([] {
    least from{"twelve bytes", {}}, to{{}, {}};
    EXPECT_EQ(copy(from, to), 12U);
    EXPECT_EQ(to.written, "twelve bytes");
    EXPECT_FALSE(to.ended);
    least a{"ping", {}}, b{"pong", {}};
    copy_both_ways(a, b);
    EXPECT_EQ(a.written + b.written, "pongping");
    EXPECT_TRUE(a.ended && b.ended);
    least c{"fail", {}}, d{"", {}};
    EXPECT_EQ(error_of([&] { copy_both_ways(c, d); }), std::errc::io_error);
    std::error_code error;
    copy_both_ways(a, b, error);
    EXPECT_FALSE(error);
  });
}

TEST_P(copy_test, pipes_are_streams_as_well) {
  on_fiber([] {
    auto [out, in] = make_pipe();
    auto [to, sink] = unix_stream::pair();
    writer w(in);
    w.write("one\ntwo\n");
    w.flush();
    reader r(out);
    EXPECT_EQ(r.read_line(), "one");
    EXPECT_EQ(r.read_line(), "two");
    const std::string all = pattern(300'000);
    auto writing = spawn([&, &in = in] {
      in.write(all);
      in.close();
    });
    auto reading = spawn([&sink = sink] { return all_of(sink); });
    EXPECT_EQ(copy(out, to), all.size());
    to.close();
    writing.get();
    EXPECT_TRUE(reading.get() == all);
  });
}

TEST_P(copy_test, an_error_tells_how_much_had_been_copied) {
  on_fiber([] {
    auto [source, from] = tcp_pair();
    auto [to, sink] = unix_stream::pair();
    source.write("12345");
    auto copying = spawn([&from = from, &to = to] {
      std::error_code error;
      const std::size_t n = copy(from, to, error);
      return std::pair(n, error);
    });
    char got[5];
    sink.read_exactly(got);
    reset(std::move(source));
    const auto [n, error] = copying.get();
    EXPECT_EQ(n, 5U);
    EXPECT_EQ(error, std::errc::connection_reset);

    auto [left, right] = unix_stream::pair();
    left.write("x");
    sink.close();
    EXPECT_EQ(error_of([&right = right, &to = to] { copy(right, to); }), std::errc::broken_pipe);
  });
}

TEST_P(copy_test, a_cancelled_copy_has_written_all_that_it_has_read) {
  on_fiber([] {
    auto [source, from] = unix_stream::pair();
    auto [to, sink] = unix_stream::pair();
    auto copying = spawn([&from = from, &to = to] { copy(from, to); });
    source.write("abc");
    char got[3];
    sink.read_exactly(got);
    await_parked(copying);
    copying.cancel();
    EXPECT_THROW(copying.get(), cancelled);
    EXPECT_EQ(from.bytes_read(), to.bytes_written());
    source.write("def");
    EXPECT_EQ(from.read_some(got), 3U) << "the streams can be used as before";
  });
}

// client <-> a | b <-> server, with copy_both_ways between a and b.
struct relay {
  tcp_stream client, a;
  unix_stream b, server;
  relay() {
    std::tie(client, a) = tcp_pair();
    std::tie(b, server) = unix_stream::pair();
  }
  task<std::error_code> start() {
    return spawn([this] {
      std::error_code error;
      copy_both_ways(a, b, error);
      return error;
    });
  }
};

// F60: each direction ends for itself.
TEST_P(copy_test, a_half_close_is_passed_on_and_the_other_direction_goes_on) {
  on_fiber([] {
    for (const bool client_first : {true, false}) {
      relay r;
      auto relaying = r.start();
      const auto talk = [](auto& first, auto& second) {
        first.set_read_deadline(clock::now() + 20s);
        second.set_read_deadline(clock::now() + 20s);
        first.write("question");
        first.shutdown_write();
        EXPECT_EQ(all_of(second), "question");
        second.write("answer");
        second.shutdown_write();
        EXPECT_EQ(all_of(first), "answer");
      };
      client_first ? talk(r.client, r.server) : talk(r.server, r.client);
      EXPECT_EQ(relaying.get(), std::error_code());
      EXPECT_TRUE(r.a.is_open() && r.b.is_open());
    }
  });
}

TEST_P(copy_test, much_goes_both_ways_at_once) {
  on_fiber([] {
    relay r;
    auto relaying = r.start();
    const std::string there = pattern(2'000'000), back = pattern(1'500'001);
    const auto send = [](auto& s, const std::string& all) {
      s.write(all);
      s.shutdown_write();
    };
    auto sending = spawn([&] { send(r.client, there); });
    auto answering = spawn([&] { send(r.server, back); });
    auto got_back = spawn([&] { return all_of(r.client); });
    EXPECT_TRUE(all_of(r.server) == there);
    EXPECT_TRUE(got_back.get() == back);
    sending.get();
    answering.get();
    EXPECT_EQ(relaying.get(), std::error_code());
  });
}

TEST_P(copy_test, an_error_of_one_direction_ends_both) {
  std::atomic<int> reported{0};
  unhandled = [&](std::exception_ptr, std::string_view) { ++reported; };
  on_fiber([] {
    {
      relay r;
      auto relaying = r.start();
      r.client.write("abc");
      char got[3];
      r.server.read_exactly(got);
      await_parked(relaying);
      reset(std::move(r.client));  // the other direction waits for a server that says nothing
      EXPECT_EQ(relaying.get(), std::errc::connection_reset);
      EXPECT_TRUE(r.b.is_open());
      r.b.write("the stream is the caller's");
    }
    {
      relay r;
      auto relaying = r.start();
      auto sending = spawn([&] {
        const std::string much = pattern(20'000'000);
        return error_of([&] { r.client.write(much); });
      });
      await_parked(sending);
      r.server.close();  // an end to one direction, and no reader for the other
      EXPECT_TRUE(is_reset(relaying.get()));
      r.a.close();
      EXPECT_TRUE(is_reset(sending.get()));
    }
    relay r;
    auto relaying = spawn([&] { copy_both_ways(r.a, r.b); });
    await_parked(relaying);
    r.a.close();
    const std::error_code error = error_of([&] { relaying.get(); });
    EXPECT_TRUE(error == std::errc::operation_canceled ||  // it was in a read
                error == std::errc::bad_file_descriptor)   // or just about to begin one
        << error.message();
  });
  EXPECT_EQ(reported.load(), 0) << "the second error of the two is no news";
}

TEST_P(copy_test, a_cancellation_ends_both_directions) {
  on_fiber([] {
    relay r;
    auto relaying = r.start();
    r.client.write("abc");
    char got[3];
    r.server.read_exactly(got);
    relaying.cancel();
    EXPECT_THROW(relaying.get(), cancelled);
    EXPECT_THROW(with_timeout(5ms, [&] { copy_both_ways(r.a, r.b); }), timed_out);
    r.client.write("def");
    r.a.read_exactly(got);
    EXPECT_EQ(std::string_view(got, 3), "def");
  });
}

TEST(plain_thread, may_not_copy) {
  tcp_stream a, b;
  EXPECT_EQ(error_of([&] { copy(a, b); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([&] { copy_both_ways(a, b); }), std::errc::operation_not_permitted);
}

}  // namespace
}  // namespace coir::testing
