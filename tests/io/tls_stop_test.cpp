// What ends a call of a TLS stream from outside, on every rung: deadlines, timeouts, cancellation,
// another call, close. F72 of the list of faults: the handshake that stalls.
#include "tls_fixture.hpp"

namespace coir::testing {
namespace {

class tls_stop_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, tls_stop_test, every_rung(), rung_name);

// F72
TEST_P(tls_stop_test, a_handshake_that_stalls_times_out_and_closes_the_transport) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    tls_context c = client_context();
    c.set_handshake_timeout(20ms);
    EXPECT_EQ(error_of([&, &a = a] { tls_stream::connect(std::move(a), c, "h"); }),
              std::errc::timed_out);
    std::string hello;
    char buffer[4096];
    while (const std::size_t n = b.read_some(buffer)) hello.append(buffer, n);
    EXPECT_GT(hello.size(), 100U);

    auto [d, f] = tcp_pair();
    tls_context s = server_context();
    s.set_handshake_timeout(20ms);
    d.write(std::string_view("\x16\x03\x01\x02\x00\x01", 6));  // a ClientHello's first bytes
    EXPECT_EQ(error_of([&, &f = f] { tls_stream::accept(std::move(f), s); }), std::errc::timed_out);
  });
}

TEST_P(tls_stop_test, an_outer_timeout_ends_a_handshake_as_well) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    EXPECT_THROW(
        with_timeout(20ms,
                     [&, &a = a] { tls_stream::connect(std::move(a), client_context(), "h"); }),
        timed_out);
  });
}

TEST_P(tls_stop_test, a_read_deadline_ends_the_read_that_it_finds_and_later_ones_go_on) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    char buffer[8];
    const auto start = clock::now();
    client.set_read_deadline(start + 30ms);
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(buffer); }), std::errc::timed_out);
    EXPECT_GE(clock::now() - start, 30ms);
    server.write("abc");
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(buffer); }), std::errc::timed_out);
    client.set_read_deadline(clock::time_point::max());
    EXPECT_EQ(client.read_some(buffer), 3U);
  });
}

TEST_P(tls_stop_test, a_deadline_strikes_though_plaintext_is_there) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    server.write("abcdef");
    char two[2];
    client.read_exactly(two);
    client.set_read_deadline(clock::now());
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(two); }), std::errc::timed_out);
    client.set_read_deadline(clock::time_point::max());
    client.read_exactly(two);
    EXPECT_EQ(std::string_view(two, 2), "cd");
  });
}

TEST_P(tls_stop_test, deadlines_hold_over_a_transport_that_has_none) {
  on_fiber([] {
    auto ends = tls_over([](tcp_stream s) { return odd_stream(std::move(s)); }, client_context(),
                         server_context());
    char buffer[8];
    ends.client.set_read_deadline(clock::now() + 20ms);
    EXPECT_EQ(error_of([&] { (void)ends.client.read_some(buffer); }), std::errc::timed_out);
    ends.client.set_read_deadline(clock::time_point::max());
    ends.server.write("abc");
    EXPECT_EQ(ends.client.read_some(buffer), 3U);
    EXPECT_EQ(ends.client.remote(), endpoint());
  });
}

// Whatever stops it, nothing is counted that the transport has not taken whole records of.
TEST_P(tls_stop_test, a_write_that_a_deadline_stops_within_a_record_is_the_last_one) {
  on_fiber([] {
    tls_ends ends;
    auto& [client, server] = ends;
    const std::string much = pattern(10'000'000);
    std::error_code error, after;
    std::size_t sent = 0;
    // On a slow machine the deadline may come between two records, which leaves the stream whole.
    while (!after) {
      ends = narrow_pair();
      client.set_write_deadline(clock::now() + 30ms);
      sent = client.write(much, error);
      ASSERT_EQ(error, std::errc::timed_out);
      EXPECT_EQ(client.bytes_written(), sent);
      EXPECT_EQ(sent % tls_record, 0U);
      EXPECT_EQ(error_of([&c = client] { c.write("x"); }), std::errc::timed_out);
      client.set_write_deadline(clock::now() + 100ms);
      client.write("x", after);
    }
    client.set_write_deadline(clock::time_point::max());
    EXPECT_EQ(error_of([&c = client] { c.write("x"); }), tls_errc::write_interrupted);
    EXPECT_EQ(error_of([&c = client] { c.shutdown_write(); }), tls_errc::write_interrupted);
    server.write("reading goes on");
    char buffer[64];
    EXPECT_EQ(client.read_some(buffer), 15U);
    client.close();
    std::size_t got = 0;
    std::vector<char> big(100'000);
    while (const std::size_t n = server.read_some(big, error)) got += n;
    EXPECT_EQ(error, std::errc::connection_aborted);
    EXPECT_EQ(got, sent);
  });
}

// One that is cancelled between two records leaves the stream whole, and others can follow.
TEST_P(tls_stop_test, a_write_that_is_cancelled_within_a_record_is_the_last_one) {
  on_fiber([] {
    auto [client, server] = narrow_pair();
    char buffer[8];
    server.write("tickets");
    client.read_exactly(std::span(buffer, 7));
    int between = -1;
    std::error_code error;
    for (; !error; ++between) {
      auto writer = spawn([&c = client] { c.write(pattern(10'000'000)); });
      await_parked(writer);
      writer.cancel();
      EXPECT_THROW(writer.get(), cancelled);
      client.set_write_deadline(clock::now() + 2s);
      client.write("x", error);
    }
    if (error == std::errc::timed_out) {  // it was whole, and this write was stopped instead
      client.set_write_deadline(clock::now() + 2s);
      client.write("x", error);
    }
    EXPECT_EQ(error, tls_errc::write_interrupted) << error.message();
    const std::uint64_t sent = client.bytes_written();
    client.close();
    std::uint64_t got = 0;
    std::vector<char> big(100'000);
    while (const std::size_t n = server.read_some(big, error)) got += n;
    EXPECT_EQ(error, std::errc::connection_aborted) << error.message();
    EXPECT_EQ(got, sent);
    std::printf("%d were cancelled between records before\n", between);
  });
}

TEST_P(tls_stop_test, a_write_that_is_cancelled_before_it_begins_leaves_the_stream_whole) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    event asked;
    auto struck = spawn([&, &c = client] {
      shield([&] { asked.wait(); });
      EXPECT_THROW(c.write("never"), cancelled);
      c.write("second");
    });
    await_parked(struck);
    struck.cancel();
    asked.set();
    struck.get();
    char buffer[16];
    EXPECT_EQ(server.read_some(buffer), 6U);
    EXPECT_EQ(client.bytes_written(), 6U);
  });
}

TEST_P(tls_stop_test, a_cancelled_read_loses_nothing) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    const std::string sent = pattern(20'000);
    std::string got;
    int struck = 0, came = 0;
    std::size_t at = 0;
    for (int turn = 0; got.size() != sent.size(); ++turn) {
      const bool nothing_is_there = at == got.size();
      auto reader = spawn([&, &c = client] {
        char buffer[150];
        got.append(buffer, c.read_some(buffer));
      });
      const int when = turn % 3;  // cancelled while it waits, with the bytes, not at all
      if (nothing_is_there && when == 0) await_parked(reader);
      const bool writes = when != 0 && at < sent.size();
      if (writes) {
        server.write(std::string_view(sent).substr(at, 100));
        at = std::min(at + 100, sent.size());
      }
      if (when != 2 || (nothing_is_there && !writes)) reader.cancel();
      try {
        reader.get();
        ++came;
      } catch (const cancelled&) {
        ++struck;
      }
    }
    EXPECT_TRUE(got == sent);
    EXPECT_GT(struck, 0);
    EXPECT_GT(came, 0);
    std::printf("%d reads returned, %d were cancelled\n", came, struck);
  });
}

TEST_P(tls_stop_test, a_second_reader_and_a_second_writer_are_refused) {
  on_fiber([] {
    auto [client, server] = narrow_pair();
    auto reader = spawn([&c = client] {
      char buffer[8];
      return c.read_some(buffer);
    });
    await_parked(reader);
    char buffer[8];
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(buffer); }),
              std::errc::operation_in_progress);
    EXPECT_EQ(error_of([&, &c = client] { c.read_exactly(buffer); }),
              std::errc::operation_in_progress);
    const std::string much = pattern(300'000);
    auto writer = spawn([&c = client, &much] { c.write(much); });
    await_parked(writer);
    EXPECT_EQ(error_of([&c = client] { c.write("y"); }), std::errc::operation_in_progress);
    EXPECT_EQ(error_of([&c = client] { c.shutdown_write(); }), std::errc::operation_in_progress);
    server.write("abc");
    EXPECT_EQ(reader.get(), 3U);
    std::string got(much.size(), 0);
    server.read_exactly(got);
    writer.get();
    EXPECT_TRUE(got == much);
  });
}

TEST_P(tls_stop_test, close_ends_the_calls_in_flight) {
  on_fiber([] {
    auto [client, server] = narrow_pair();
    auto reader = spawn([&c = client] {
      char buffer[8];
      return error_of([&] { (void)c.read_some(buffer); });
    });
    auto writer = spawn([&c = client] { return error_of([&] { c.write(pattern(3'000'000)); }); });
    await_parked(reader);
    await_parked(writer);
    EXPECT_TRUE(client.is_open());
    client.close();
    EXPECT_FALSE(client.is_open());
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
    EXPECT_EQ(writer.get(), std::errc::operation_canceled);
    char buffer[8];
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(buffer); }),
              std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&c = client] { c.write("x"); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&c = client] { c.shutdown_write(); }), std::errc::bad_file_descriptor);
    client.close();
  });
}

TEST_P(tls_stop_test, a_stream_may_go_while_a_call_is_parked_on_it) {
  on_fiber([] {
    auto ends = tls_pair();
    auto reader = spawn([&] {
      char buffer[8];
      return error_of([&] { (void)ends.client.read_some(buffer); });
    });
    await_parked(reader);
    ends.client = tls_stream();
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
  });
}

}  // namespace
}  // namespace coir::testing
