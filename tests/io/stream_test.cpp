// Streams, on every rung: what arrives, what ends them, what is refused.
#include <cstring>
#include <numeric>

#include <sys/socket.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class stream_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, stream_test, every_rung(), rung_name);

void set_send_buffer(const tcp_stream& s, int bytes) {
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
// The peer then sees a reset instead of an end.
void reset(tcp_stream s) {
  const linger at_once{1, 0};
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}
std::vector<char> pattern(std::size_t size) {
  std::vector<char> v(size);
  for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
  return v;
}

TEST_P(stream_test, what_is_written_through_small_buffers_arrives_exactly) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    set_send_buffer(a, 4096);
    const auto sent = pattern(sanitized ? 100'000 : 1'000'000);
    auto writer = spawn([&a = a, &sent] {
      a.write(std::string_view(sent.data(), sent.size()));
      a.shutdown_write();
    });
    std::vector<char> got;
    char buffer[10'000];
    while (const std::size_t n = b.read_some(buffer)) got.insert(got.end(), buffer, buffer + n);
    writer.get();
    EXPECT_TRUE(got == sent);
    EXPECT_EQ(a.bytes_written(), sent.size());
    EXPECT_EQ(b.bytes_read(), sent.size());
  });
}

TEST_P(stream_test, many_buffers_are_gathered_in_order) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    set_send_buffer(a, 4096);
    const auto all = pattern(300'000);
    std::vector<std::span<const std::byte>> parts;
    std::size_t at = 0;
    for (std::size_t size = 0; at < all.size();
         size = (size * 7 + 3) % 2000) {  // empty ones among them
      const std::size_t n = std::min(size, all.size() - at);
      parts.push_back(std::as_bytes(std::span(all)).subspan(at, n));
      at += n;
    }
    auto writer = spawn([&a = a, &parts] { a.write(parts); });
    std::vector<char> got(all.size());
    b.read_exactly(got);
    writer.get();
    EXPECT_TRUE(got == all);
    EXPECT_EQ(a.bytes_written(), all.size());
  });
}

TEST_P(stream_test, half_closed_streams_carry_the_other_direction) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.write("question");
    a.shutdown_write();
    char buffer[64];
    EXPECT_EQ(b.read_some(buffer), 8U);
    EXPECT_EQ(b.read_some(buffer), 0U);
    EXPECT_EQ(b.read_some(buffer), 0U);  // the end stays the end
    b.write("answer");
    EXPECT_EQ(a.read_some(buffer), 6U);
    EXPECT_EQ(error_of([&a = a] { a.write("more"); }), std::errc::broken_pipe);
  });
}

TEST_P(stream_test, a_reset_is_an_error_of_the_parked_reader) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto reader = spawn([&a = a] {
      char buffer[8];
      return error_of([&] { (void)a.read_some(buffer); });
    });
    await_parked(reader);
    reset(std::move(b));
    EXPECT_EQ(reader.get(), std::errc::connection_reset);
  });
}

TEST_P(stream_test, a_reset_is_an_error_of_the_parked_writer) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    set_send_buffer(a, 4096);
    auto writer = spawn([&a = a] {
      const std::vector<char> much(10'000'000);
      return error_of([&] { a.write(std::string_view(much.data(), much.size())); });
    });
    await_parked(writer);
    reset(std::move(b));
    const std::error_code e = writer.get();
    EXPECT_TRUE(e == std::errc::connection_reset || e == std::errc::broken_pipe) << e.message();
  });
}

TEST_P(stream_test, read_exactly_tells_how_much_came_before_the_end) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.write("12345");
    a.close();
    char buffer[8];
    try {
      b.read_exactly(buffer);
      ADD_FAILURE();
    } catch (const incomplete_read& e) {
      EXPECT_EQ(e.partial(), 5U);
      EXPECT_EQ(e.expected(), 8U);
      EXPECT_EQ(std::string_view(buffer, 5), "12345");
    }
    std::error_code error;
    EXPECT_EQ(b.read_exactly(buffer, error), 0U);
    EXPECT_EQ(error, stream_errc::incomplete_read);
  });
}

// F52
TEST_P(stream_test, a_second_reader_is_refused_and_the_first_goes_on) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto first = spawn([&a = a] {
      char buffer[8];
      return a.read_some(buffer);
    });
    await_parked(first);
    char buffer[8];
    EXPECT_EQ(error_of([&, &a = a] { (void)a.read_some(buffer); }),
              std::errc::operation_in_progress);
    a.write("writing is safe meanwhile");
    b.write("abc");
    EXPECT_EQ(first.get(), 3U);
  });
}

// F52
TEST_P(stream_test, a_second_writer_is_refused) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    set_send_buffer(a, 4096);
    const std::vector<char> much(300'000, 'x');
    auto first = spawn([&a = a, &much] { a.write(std::string_view(much.data(), much.size())); });
    await_parked(first);
    EXPECT_EQ(error_of([&a = a] { a.write("y"); }), std::errc::operation_in_progress);
    std::vector<char> got(much.size());
    b.read_exactly(got);
    first.get();
    EXPECT_TRUE(got == much);
  });
}

// Wherever a std::string_view is taken, so that what was read can be written.
TEST_P(stream_test, text_is_written_from_spans_and_vectors_of_char_too) {
  on_fiber([] {
    std::error_code error;
    char text[] = "text";
    const std::span<char> some(text, 2);
    const std::vector<char> more{'x', 't'};
    const auto expect = [](auto& from, std::string_view what) {
      std::string got(what.size(), '\0');
      from.read_exactly(got);
      EXPECT_EQ(got, what);
    };
    auto [a, b] = unix_stream::pair();
    a.write(some);
    EXPECT_EQ(a.write(more, error), 2U);
    EXPECT_EQ(a.write_some(std::span<const char>(some)), 2U);
    EXPECT_EQ(a.write_some(std::vector<char>(3, 'q'), error), 3U);
    a.write(std::array<char, 1>{'z'});
    writer w(a);
    w.write(more);
    w.write(some, error);
    w.write("!", error);
    w.flush();
    expect(b, "textteqqqzxtte!");

    auto u = udp_socket::bind(endpoint::parse("127.0.0.1:0"));
    EXPECT_EQ(u.send_to(some, u.local()), 2U);
    EXPECT_EQ(u.send_to(more, u.local(), error), 2U);
    u.connect(u.local());
    EXPECT_EQ(u.send(some), 2U);
    EXPECT_EQ(u.send(more, error), 2U);
    EXPECT_FALSE(error);

    auto f = file::temporary();
    f.write(some);
    EXPECT_EQ(f.write_some(more), 2U);
    EXPECT_EQ(f.write_at(more, 4), 2U);
    EXPECT_EQ(f.write_at(some, 6, error), 2U);
    EXPECT_EQ(f.write(some, error), 2U);
    char got[8];
    EXPECT_EQ(f.read_at(got, 0), 8U);
    EXPECT_EQ(std::string_view(got, 8), "texttete");
  });
}

TEST_P(stream_test, empty_buffers_move_nothing) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    EXPECT_EQ(a.read_some(std::span<char>()), 0U);
    EXPECT_EQ(a.write_some(""), 0U);
    a.write("");
    a.write(std::span<const std::span<const std::byte>>());
    a.read_exactly(std::span<char>());
    EXPECT_EQ(a.bytes_read() + a.bytes_written(), 0U);
  });
}

TEST_P(stream_test, a_closed_stream_is_a_bad_descriptor) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    char buffer[8];
    tcp_stream none;
    a.close();
    a.close();
    for (tcp_stream* s : {&none, &a}) {
      EXPECT_FALSE(s->is_open());
      EXPECT_EQ(s->native_handle(), -1);
      EXPECT_EQ(error_of([&] { (void)s->read_some(buffer); }), std::errc::bad_file_descriptor);
      EXPECT_EQ(error_of([&] { s->write("x"); }), std::errc::bad_file_descriptor);
      EXPECT_EQ(error_of([&] { s->shutdown_write(); }), std::errc::bad_file_descriptor);
      EXPECT_EQ(error_of([&] { (void)s->remote(); }), std::errc::bad_file_descriptor);
      EXPECT_EQ(error_of([&] { s->set_no_delay(true); }), std::errc::bad_file_descriptor);
    }
    EXPECT_EQ(b.read_some(buffer), 0U);
  });
}

TEST_P(stream_test, a_deadline_ends_the_read_that_it_finds_parked) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    char buffer[8];
    const auto start = clock::now();
    a.set_read_deadline(start + 30ms);
    EXPECT_EQ(error_of([&, &a = a] { (void)a.read_some(buffer); }), std::errc::timed_out);
    EXPECT_GE(clock::now() - start, 30ms);
    EXPECT_EQ(error_of([&, &a = a] { (void)a.read_some(buffer); }), std::errc::timed_out);
    a.set_read_deadline(clock::time_point::max());
    b.write("abc");
    EXPECT_EQ(a.read_some(buffer), 3U);
  });
}

TEST_P(stream_test, a_deadline_can_be_moved_during_a_call) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    const auto read = [&a = a] {
      char buffer[8];
      return error_of([&] { (void)a.read_some(buffer); });
    };
    auto reader = spawn(read);
    await_parked(reader);
    a.set_read_deadline(clock::now());  // none before
    EXPECT_EQ(reader.get(), std::errc::timed_out);

    a.set_read_deadline(clock::now() + 1h);
    reader = spawn(read);
    await_parked(reader);
    a.set_read_deadline(clock::now() + 10ms);  // earlier
    EXPECT_EQ(reader.get(), std::errc::timed_out);

    a.set_read_deadline(clock::now() + 20ms);
    reader = spawn(read);
    a.set_read_deadline(clock::now() + 1h);  // later: the first one must not strike
    EXPECT_FALSE(reader.wait_for(60ms));
    b.write("x");
    EXPECT_EQ(reader.get(), std::error_code());
  });
}

// A worker that was kept from its events finds both at once; what came in time counts.
TEST_P(stream_test, what_is_there_when_the_deadline_strikes_is_read) {
  on_fiber([] {
    for (const bool closed : {false, true}) {
      auto [a, b] = tcp_pair();
      const auto deadline = clock::now() + 60ms;
      a.set_read_deadline(deadline);
      auto reader = spawn([&a = a] {
        char buffer[8];
        std::error_code error;
        const std::size_t n = a.read_some(buffer, error);
        return std::make_pair(n, error);
      });
      EXPECT_TRUE(eventually_on_fiber(
          [&] { return reader.state() == task_state::parked || reader.done(); }));
      const auto sent =
          closed ? ::shutdown(b.native_handle(), SHUT_WR) : ::send(b.native_handle(), "abc", 3, 0);
      EXPECT_EQ(sent, closed ? 0 : 3);
      const bool in_time = clock::now() < deadline;
      while (clock::now() < deadline + 1ms) {}  // a fiber that computes
      const auto [n, error] = reader.get();
      if (!in_time) continue;
      EXPECT_EQ(n, closed ? 0U : 3U);
      EXPECT_EQ(error, std::error_code());
      EXPECT_EQ(error_of([&, &a = a] { (void)a.read_some(std::span<char>()); }),
                std::errc::timed_out);
    }
  });
}

TEST_P(stream_test, a_write_deadline_leaves_an_exact_count) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    set_send_buffer(a, 4096);
    a.set_write_deadline(clock::now() + 30ms);
    const std::vector<char> much(10'000'000);
    std::error_code error;
    const std::size_t sent = a.write(std::string_view(much.data(), much.size()), error);
    EXPECT_EQ(error, std::errc::timed_out);
    EXPECT_EQ(a.bytes_written(), sent);
    a.close();
    std::size_t got = 0;
    std::vector<char> buffer(100'000);
    while (const std::size_t n = b.read_some(buffer)) got += n;
    EXPECT_EQ(got, sent);
  });
}

TEST_P(stream_test, connecting_to_nobody_is_refused_and_names_the_address) {
  on_fiber([] {
    endpoint nobody;
    { nobody = tcp_listener::bind(any_port).local(); }
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 50; ++i) {
      try {
        tcp_stream::connect(nobody);
        ADD_FAILURE();
      } catch (const std::system_error& e) {
        EXPECT_EQ(e.code(), std::errc::connection_refused);
        EXPECT_NE(std::string(e.what()).find(to_string(nobody)), std::string::npos);
      }
    }
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(error_of([] { tcp_stream::connect(endpoint::parse("unix:/x")); }),
              std::errc::address_family_not_supported);
    EXPECT_EQ(error_of([] { tcp_stream::connect(endpoint()); }),
              std::errc::address_family_not_supported);
  });
}

TEST_P(stream_test, an_address_in_use_is_named) {
  on_fiber([] {
    const auto first = tcp_listener::bind(any_port);
    try {
      tcp_listener::bind(first.local());
      ADD_FAILURE();
    } catch (const std::system_error& e) {
      EXPECT_EQ(e.code(), std::errc::address_in_use);
      EXPECT_NE(std::string(e.what()).find(to_string(first.local())), std::string::npos)
          << e.what();
    }
    std::error_code error;
    EXPECT_FALSE(tcp_listener::bind(first.local(), error).is_open());
    EXPECT_EQ(error, std::errc::address_in_use);
    const auto shared = tcp_listener::bind(any_port, {.reuse_port = true});
    EXPECT_TRUE(tcp_listener::bind(shared.local(), {.reuse_port = true}).is_open());
  });
}

TEST_P(stream_test, addresses_of_both_ends_agree) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    EXPECT_EQ(a.local(), b.remote());
    EXPECT_EQ(a.remote(), b.local());
    a.set_no_delay(false);
    a.set_keep_alive(true, {.idle = 3s, .interval = 1s, .count = 5});
    a.set_keep_alive(false);
  });
}

TEST_P(stream_test, ipv6_and_unix_carry_bytes_too) {
  on_fiber([] {
    char buffer[8];
    std::error_code error;
    auto six = tcp_listener::bind(endpoint::parse("[::1]:0"), error);
    if (!error) {
      auto c = tcp_stream::connect(six.local());
      auto s = six.accept();
      c.write("six");
      EXPECT_EQ(s.read_some(buffer), 3U);
    }
    auto abstract =
        unix_listener::bind(endpoint::parse("unix:@coir-test-" + std::to_string(::getpid())));
    auto c = unix_stream::connect(abstract.local());
    auto s = abstract.accept();
    c.write("unix");
    EXPECT_EQ(s.read_some(buffer), 4U);
    auto [left, right] = unix_stream::pair();
    left.write("pair");
    EXPECT_EQ(right.read_some(buffer), 4U);
  });
}

TEST_P(stream_test, a_socket_file_goes_with_its_listener) {
  on_fiber([] {
    const std::string path = "/tmp/coir-test-" + std::to_string(::getpid()) + ".sock";
    const endpoint at = endpoint::parse("unix:" + path);
    int stale = -1;
    {
      auto l = unix_listener::bind(at);
      EXPECT_TRUE(std::filesystem::exists(path));
      EXPECT_EQ(error_of([&] { unix_listener::bind(at, {.replace_stale = true}); }),
                std::errc::address_in_use);
      stale = l.release();  // its file stays, and nobody will answer there
    }
    ::close(stale);
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_EQ(error_of([&] { unix_listener::bind(at); }), std::errc::address_in_use);
    { auto l = unix_listener::bind(at, {.replace_stale = true}); }
    EXPECT_FALSE(std::filesystem::exists(path));
  });
}

TEST_P(stream_test, a_released_descriptor_belongs_to_the_caller) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    char buffer[8];
    auto reader = spawn([&a = a] {
      char own[8];
      return error_of([&] { (void)a.read_some(own); });
    });
    await_parked(reader);
    const int fd = a.release();
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
    EXPECT_FALSE(a.is_open());
    auto again = tcp_stream::adopt(fd);
    b.write("abc");
    EXPECT_EQ(again.read_some(buffer), 3U);
    EXPECT_EQ(error_of([] { tcp_stream::adopt(-1); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(stream_test, a_parked_read_returns_wherever_its_fiber_runs_next) {
  if (GetParam().workers == 1) GTEST_SKIP() << "nobody steals";
  on_fiber([] {
    auto [a, b] = tcp_pair();
    std::atomic<bool> stop{false};
    std::vector<task<int>> readers;
    // Hogs keep workers busy, so that what becomes ready there is taken by others.
    auto reader = spawn([&a = a] {
      std::uint64_t sum = 0;
      char buffer[1];
      while (a.read_some(buffer) != 0) sum += static_cast<unsigned char>(buffer[0]);
      return sum;
    });
    auto hog = spawn([&stop] {
      while (!stop.load()) {
        const auto end = clock::now() + 2ms;
        while (clock::now() < end) {}
        this_fiber::yield();
      }
    });
    std::uint64_t sum = 0;
    for (int i = 0; i < rounds(300); ++i) {
      const char c = static_cast<char>(i);
      sum += static_cast<unsigned char>(c);
      b.write(std::string_view(&c, 1));
      if (i % 4 == 0) this_fiber::sleep_for(100us);
    }
    b.close();
    EXPECT_EQ(reader.get(), sum);
    stop = true;
    hog.get();
  });
}

}  // namespace
}  // namespace coir::testing
