// TLS streams, on every rung: what arrives, what ends them, what is refused. F72 of the list of
// faults is here: records cut short, ends without a close_notify, oversized records.
#include "tls_fixture.hpp"

namespace coir::testing {
namespace {

class tls_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, tls_test, every_rung(), rung_name);

static_assert(byte_stream<tls_stream>);

TEST_P(tls_test, bytes_arrive_both_ways_and_are_counted) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    EXPECT_EQ(client.version(), "TLSv1.3");
    client.write("question");
    char buffer[64];
    EXPECT_EQ(server.read_some(buffer), 8U);
    EXPECT_EQ(std::string_view(buffer, 8), "question");
    server.write("an answer");
    EXPECT_EQ(client.read_some(buffer), 9U);
    EXPECT_EQ(client.bytes_written(), 8U);
    EXPECT_EQ(client.bytes_read(), 9U);
    EXPECT_EQ(server.bytes_written(), 9U);
    EXPECT_EQ(client.local(), server.remote());
    EXPECT_EQ(client.remote(), server.local());
  });
}

TEST_P(tls_test, both_directions_at_once_in_random_pieces_arrive_exactly) {
  on_fiber([] {
    auto ends = tls_over([](tcp_stream s) { return odd_stream(std::move(s)); }, client_context(),
                         server_context());
    const std::string sent = pattern(sanitized ? 100'000 : 600'000);
    const auto both_ways = [&sent](tls_stream& s) {
      auto writer = spawn([&] {
        std::string_view rest = sent;
        for (unsigned i = 1; !rest.empty(); ++i) {
          const std::size_t n = std::min<std::size_t>(rest.size(), i * 7919 % 50'000);
          s.write(rest.substr(0, n));
          rest.remove_prefix(n);
        }
        s.shutdown_write();
      });
      EXPECT_TRUE(read_all(s, 7'777) == sent);
      writer.get();
      EXPECT_EQ(s.bytes_read(), sent.size());
      EXPECT_EQ(s.bytes_written(), sent.size());
    };
    auto other = spawn([&] { both_ways(ends.server); });
    both_ways(ends.client);
    other.get();
  });
}

TEST_P(tls_test, records_may_go_out_without_a_copy) {
  on_fiber([] {
    const auto lending = [](tcp_stream s) {
      s.set_zero_copy(1);
      return s;
    };
    auto ends = tls_over(lending, client_context(), server_context());
    const std::string sent = pattern(300'000);
    auto writer = spawn([&] {
      std::string text = sent;
      ends.client.write(text);
      std::fill(text.begin(), text.end(), '!');
      ends.client.shutdown_write();
    });
    EXPECT_TRUE(read_all(ends.server) == sent);
    writer.get();
  });
}

TEST_P(tls_test, reader_and_writer_meet_while_keys_are_changed) {
  on_fiber([] {
    tls_context client = client_context(), server = server_context();
    client.set_key_update_interval(3);
    server.set_key_update_interval(5);
    auto ends = narrow_pair(client, server);
    const std::string sent = pattern(sanitized ? 100'000 : 400'000);
    const auto both_ways = [&sent](tls_stream& s) {
      auto writer = spawn([&] {
        for (std::size_t at = 0; at < sent.size(); at += 1'000)
          s.write(std::string_view(sent).substr(at, 1'000));
        s.shutdown_write();
      });
      EXPECT_TRUE(read_all(s) == sent);
      writer.get();
    };
    auto other = spawn([&] { both_ways(ends.server); });
    both_ways(ends.client);
    other.get();
  });
}

TEST_P(tls_test, many_buffers_are_gathered_in_order) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    const std::string all = pattern(300'000);
    std::vector<std::span<const std::byte>> parts;
    std::size_t at = 0;
    for (std::size_t size = 0; at < all.size(); size = (size * 7 + 3) % 30'000) {
      const std::size_t n = std::min(size, all.size() - at);  // empty ones among them
      parts.push_back(std::as_bytes(std::span(all)).subspan(at, n));
      at += n;
    }
    auto writer = spawn([&c = client, &parts] { c.write(parts); });
    std::string got(all.size(), 0);
    server.read_exactly(got);
    writer.get();
    EXPECT_TRUE(got == all);
    EXPECT_EQ(client.bytes_written(), all.size());
  });
}

TEST_P(tls_test, a_close_notify_is_the_end_and_the_other_direction_goes_on) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    client.write("question");
    client.shutdown_write();
    client.shutdown_write();  // twice is once
    EXPECT_EQ(read_all(server), "question");
    char buffer[8];
    EXPECT_EQ(server.read_some(buffer), 0U);  // the end stays the end
    server.write("answer");
    EXPECT_EQ(client.read_some(buffer), 6U);
    EXPECT_EQ(error_of([&c = client] { c.write("more"); }), std::errc::broken_pipe);
    server.shutdown_write();
    EXPECT_EQ(client.read_some(buffer), 0U);
  });
}

// F72
TEST_P(tls_test, an_end_without_close_notify_is_connection_aborted) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    server.write("all of it?");
    server.close();
    char buffer[64];
    EXPECT_EQ(client.read_some(buffer), 10U);
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(buffer); }),
              std::errc::connection_aborted);
    EXPECT_EQ(error_of([&, &c = client] { (void)c.read_some(buffer); }),
              std::errc::connection_aborted);  // and stays so
    EXPECT_EQ(error_of([&, &c = client] { c.read_exactly(buffer); }),
              std::errc::connection_aborted);
  });
}

// F72
TEST_P(tls_test, a_record_that_is_cut_short_is_connection_aborted) {
  on_fiber([] {
    for (const std::string_view part : {"\x17\x03", "\x17\x03\x03", "\x17\x03\x03\x00\x40 some"}) {
      auto ends = spied_tls_pair();
      ends.server.write("before");
      ends.behind.write(std::string_view(part.data(), part.size()));
      ends.behind.shutdown_write();
      char buffer[64];
      EXPECT_EQ(ends.client.read_some(buffer), 6U);
      EXPECT_EQ(read_error(ends.client), std::errc::connection_aborted);
    }
  });
}

// F72
TEST_P(tls_test, an_oversized_record_is_refused_with_an_alert) {
  on_fiber([] {
    auto ends = spied_tls_pair();
    ends.behind.write(std::string_view("\x17\x03\x03\xff\xff", 5));
    ends.behind.write(pattern(0xffff));
    const std::error_code e = read_error(ends.client);
    EXPECT_EQ(e, tls_errc::protocol_violated) << e.message();
    EXPECT_NE(e.message().find("length"), std::string::npos) << e.message();
    EXPECT_EQ(read_error(ends.client), e);
    EXPECT_EQ(error_of([&] { ends.client.write("x"); }), e);
    const std::error_code told = read_error(ends.server);
    EXPECT_NE(told.message().find("the peer says"), std::string::npos) << told.message();
  });
}

// The reader does not wait for a writer that is stuck, and the alert does not cut into its record.
TEST_P(tls_test, an_alert_goes_out_behind_the_record_that_is_being_written) {
  on_fiber([] {
    auto ends = spied_tls_pair();
    const std::string much = pattern(10'000'000);
    auto writer = spawn([&] { return error_of([&] { ends.client.write(much); }); });
    await_parked(writer);
    ends.behind.write(std::string_view("\x17\x03\x03\xff\xff", 5));
    const std::error_code e = read_error(ends.client);
    EXPECT_EQ(e, tls_errc::protocol_violated);
    std::string got, buffer(100'000, 0);
    std::error_code told;
    while (const std::size_t n = ends.server.read_some(buffer, told)) got.append(buffer, 0, n);
    EXPECT_NE(told.message().find("the peer says"), std::string::npos) << told.message();
    EXPECT_EQ(writer.get(), e);
    EXPECT_EQ(got.size(), ends.client.bytes_written());
    EXPECT_TRUE(got == much.substr(0, got.size()));
  });
}

TEST_P(tls_test, a_record_that_was_changed_on_the_way_is_refused) {
  on_fiber([] {
    auto ends = spied_tls_pair();
    ends.behind.write("\x17\x03\x03");
    ends.behind.write(std::string_view("\0\x20", 2));
    ends.behind.write(std::string(32, 'x'));
    EXPECT_EQ(read_error(ends.client), tls_errc::protocol_violated);
  });
}

TEST_P(tls_test, who_speaks_no_tls_is_refused_at_once) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.write("GET / HTTP/1.0\r\n\r\n");
    const std::error_code e =
        error_of([&, &b = b] { tls_stream::accept(std::move(b), server_context()); });
    EXPECT_EQ(e, tls_errc::protocol_violated);
    EXPECT_EQ(e.message(), "http request");
    auto [c, d] = tcp_pair();
    d.write("220 mail.test ESMTP\r\n");
    const std::error_code f =
        error_of([&, &c = c] { tls_stream::connect(std::move(c), client_context(), "h"); });
    EXPECT_EQ(f, tls_errc::protocol_violated);
    EXPECT_EQ(f.message(), "wrong version number");
  });
}

TEST_P(tls_test, a_peer_that_goes_during_the_handshake_is_connection_aborted) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.shutdown_write();
    EXPECT_EQ(error_of([&, &b = b] { tls_stream::accept(std::move(b), server_context()); }),
              std::errc::connection_aborted);
    char buffer[8];
    std::error_code e;
    EXPECT_EQ(a.read_some(buffer, e), 0U) << "the transport is left open";
  });
}

TEST_P(tls_test, a_default_constructed_stream_is_closed) {
  on_fiber([] {
    tls_stream s;
    char buffer[8];
    EXPECT_FALSE(s.is_open());
    EXPECT_EQ(error_of([&] { (void)s.read_some(buffer); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { s.write("x"); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { s.shutdown_write(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(error_of([&] { (void)s.remote(); }), std::errc::bad_file_descriptor);
    EXPECT_EQ(s.alpn() + s.version(), "");
    EXPECT_EQ(s.bytes_read() + s.bytes_written(), 0U);
    EXPECT_EQ(error_of([] { tls_stream::accept(tcp_stream(), server_context()); }),
              std::errc::bad_file_descriptor);
  });
}

TEST_P(tls_test, empty_buffers_move_nothing) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    EXPECT_EQ(client.read_some(std::span<char>()), 0U);
    EXPECT_EQ(client.write_some(""), 0U);
    client.write("");
    client.write(std::span<const std::span<const std::byte>>());
    client.read_exactly(std::span<char>());
    EXPECT_EQ(client.bytes_read() + client.bytes_written(), 0U);
  });
}

TEST_P(tls_test, read_exactly_tells_how_much_came_before_the_end) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    client.write("12345");
    client.shutdown_write();
    char buffer[8];
    try {
      server.read_exactly(buffer);
      ADD_FAILURE();
    } catch (const incomplete_read& e) {
      EXPECT_EQ(e.partial(), 5U);
      EXPECT_EQ(e.expected(), 8U);
    }
  });
}

TEST_P(tls_test, it_runs_over_unix_sockets_and_over_itself) {
  on_fiber([] {
    const tls_context client = client_context(), server = server_context();
    auto [a, b] = unix_stream::pair();
    auto accepting = spawn([&, t = std::move(b)]() mutable {
      return tls_stream::accept(tls_stream::accept(std::move(t), server), server);
    });
    tls_stream outer = tls_stream::connect(tls_stream::connect(std::move(a), client, "localhost"),
                                           client, "a.coir.test");
    tls_stream inner = accepting.get();
    const std::string sent = pattern(100'000);
    auto writer = spawn([&] {
      outer.write(sent);
      outer.shutdown_write();
    });
    EXPECT_TRUE(read_all(inner) == sent);
    writer.get();
  });
}

TEST_P(tls_test, a_buffered_reader_and_a_writer_run_over_it) {
  on_fiber([] {
    auto [client, server] = tls_pair();
    writer w(client);
    for (const char* line : {"one\r\n", "two\n", "three"}) w.write(line);
    w.flush();
    client.shutdown_write();
    reader r(server);
    EXPECT_EQ(r.read_line(), "one");
    EXPECT_EQ(r.read_line(), "two");
    EXPECT_EQ(r.read_line(), "three");
    EXPECT_EQ(r.read_line(), std::nullopt);
  });
}

TEST_P(tls_test, connections_leave_no_memory_behind) {
  on_fiber([] {
    const tls_context client = client_context(), server = server_context();
    const auto connections = [&](int n) {
      for (int i = 0; i < n; ++i) {
        auto ends = tls_pair(client, server);  // every other one is resumed
        ends.server.write("x");
        char c;
        ends.client.read_exactly(std::span(&c, 1));
        if (i % 3 == 0) ends.client.shutdown_write();
        if (i % 3 != 1) continue;
        EXPECT_EQ(error_of([&] { tls_pair(client, server, "other.test"); }),
                  tls_errc::certificate_rejected);
      }
      return openssl_blocks();
    };
    ASSERT_GE(openssl_blocks(), 0);
    // Each worker's thread has things of its own from its first handshake on; what leaks never
    // ends.
    long before = connections(15), more = 1;
    for (int round = 0; more > 0 && round < 20; ++round) {
      const long after = connections(15);
      more = after - before;
      before = after;
    }
    EXPECT_LE(more, 0) << before << " blocks, and more each time";
  });
}

TEST_P(tls_test, a_server_serves_it) {
  on_fiber([] {
    const tls_context context = server_context();
    server srv(tcp_listener::bind(any_port), [&](tcp_stream c) {
      tls_stream s = tls_stream::accept(std::move(c), context);
      char buffer[1000];
      while (const std::size_t n = s.read_some(buffer)) s.write(std::string_view(buffer, n));
      s.shutdown_write();
    });
    auto serving = spawn([&] { srv.serve(); });
    const tls_context trusting = client_context();
    std::vector<task<std::string>> clients;
    for (int i = 0; i < 8; ++i)
      clients.push_back(spawn([&, i] {
        auto s =
            tls_stream::connect(tcp_stream::connect(srv.listener().local()), trusting, "127.0.0.1");
        s.write(pattern(1'000U * static_cast<unsigned>(i)));
        s.shutdown_write();
        return read_all(s);
      }));
    for (unsigned i = 0; i < 8; ++i) EXPECT_TRUE(clients[i].get() == pattern(1'000 * i));
    srv.stop(1s);
    serving.get();
  });
}

TEST(tls_on_a_thread, calls_are_not_permitted) {
  std::error_code e;
  EXPECT_FALSE(tls_stream::connect(tcp_stream(), client_context(), "h", e).is_open());
  EXPECT_EQ(e, std::errc::operation_not_permitted);
}

// OpenSSL would overflow these; its calls are made on a bigger stack then.
TEST(tls_on_small_stacks, handshakes_and_records_work_on_32_KiB) {
  options o;
  o.workers = 2;
  runtime r(o);
  r.block_on([] {
    const std::string sent = pattern(100'000);
    const tls_context client = client_context(), server = server_context();
    tcp_listener listener = tcp_listener::bind(any_port);
    auto served = spawn({.name = "small", .stack_size = 32 * 1024}, [&] {
      tls_stream s = tls_stream::accept(listener.accept(), server);
      s.write(sent);
      s.shutdown_write();
    });
    auto read = spawn({.name = "small", .stack_size = 32 * 1024}, [&] {
      tls_stream s =
          tls_stream::connect(tcp_stream::connect(listener.local()), client, "localhost");
      return read_all(s) == sent;
    });
    EXPECT_TRUE(read.get());
    served.get();
  });
}

}  // namespace
}  // namespace coir::testing
