// UDP, on every rung: what arrives, what an error belongs to, what ends a call.
#include <cstring>
#include <random>

#include "datagrams.hpp"

namespace coir::testing {
namespace {

class udp_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, udp_test, every_rung(), rung_name);

// A port at which nobody is.
endpoint nobody() { return here().local(); }

template <class Socket>
auto spawn_receiver(Socket& s) {
  return spawn([&s] {
    char own[8];
    return error_of([&] { (void)s.recv_from(own); });
  });
}

TEST_P(udp_test, messages_arrive_whole_and_name_their_sender) {
  on_fiber([] {
    for (const char* at : {"127.0.0.1:0", "[::1]:0"}) {
      std::error_code error;
      auto a = udp_socket::bind(endpoint::parse(at), error);
      if (error && at[0] == '[') continue;  // no IPv6 here
      ASSERT_FALSE(error) << error.message();
      auto b = udp_socket::bind(endpoint::parse(at));
      char buffer[2000];
      const std::string big(1500, 'b');
      for (const std::string_view message : {std::string_view("one"), std::string_view(big)}) {
        auto receiver = spawn([&] { return b.recv_from(buffer); });
        EXPECT_EQ(a.send_to(message, b.local()), message.size());
        const datagram got = receiver.get();
        EXPECT_EQ(text(got, buffer), message);
        EXPECT_EQ(got.from, a.local());
        EXPECT_FALSE(got.truncated);
      }
    }
  });
}

// F62
TEST_P(udp_test, an_empty_message_is_a_message_and_no_end) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[8];
    auto receiver = spawn([&] { return b.recv_from(buffer); });
    EXPECT_EQ(a.send_to("", b.local()), 0U);
    const datagram got = receiver.get();
    EXPECT_EQ(got.size, 0U);
    EXPECT_EQ(got.from, a.local());
    a.send_to("after", b.local());
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "after");
  });
}

// F62
TEST_P(udp_test, an_empty_buffer_takes_a_message) {
  on_fiber([] {
    auto a = here(), b = here();
    a.send_to("gone", b.local());
    a.send_to("", b.local());
    a.send_to("there", b.local());
    const datagram first = b.recv_from(std::span<char>());
    EXPECT_EQ(first.size, 0U);
    EXPECT_TRUE(first.truncated);
    EXPECT_FALSE(b.recv_from(std::span<char>()).truncated);
    char buffer[8];
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "there");
  });
}

// F66
TEST_P(udp_test, a_message_larger_than_the_buffer_says_that_it_was_cut) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[5] = "xxxx";
    a.send_to("12345678", b.local());
    a.send_to("1234", b.local());
    datagram got = b.recv_from(std::span<char>(buffer, 4));
    EXPECT_EQ(got.size, 4U);
    EXPECT_TRUE(got.truncated);
    EXPECT_STREQ(buffer, "1234");
    got = b.recv_from(std::span<char>(buffer, 4));
    EXPECT_EQ(got.size, 4U);
    EXPECT_FALSE(got.truncated) << "it fits exactly";
  });
}

// F66
TEST_P(udp_test, a_message_too_long_for_the_protocol_fails_alone) {
  on_fiber([] {
    auto a = here(), b = here();
    const std::string huge(70'000, 'x');
    EXPECT_EQ(error_of([&] { a.send_to(huge, b.local()); }), std::errc::message_size);
    a.connect(b.local());
    EXPECT_EQ(error_of([&] { a.send(huge); }), std::errc::message_size);
    EXPECT_EQ(a.send("fine"), 4U);
    char buffer[8];
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "fine");
  });
}

// F67
TEST_P(udp_test, a_socket_without_peer_is_not_poisoned_by_a_closed_port) {
  on_fiber([] {
    auto a = here(), b = here();
    const endpoint closed = nobody();
    char buffer[8];
    auto receiver = spawn([&] { return a.recv_from(buffer); });  // one is parked meanwhile
    await_parked(receiver);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(a.send_to("lost", closed), 4U);
    b.send_to("hello", a.local());
    EXPECT_EQ(text(receiver.get(), buffer), "hello");
    for (int i = 0; i < 10; ++i) a.send_to("lost", closed);
    b.send_to("again", a.local());
    EXPECT_EQ(text(a.recv_from(buffer), buffer), "again");
  });
}

// F67
TEST_P(udp_test, a_refusal_belongs_to_one_call_of_the_connected_socket) {
  on_fiber([] {
    auto a = here();
    const endpoint closed = nobody();
    a.connect(closed);
    char buffer[8];
    for (int i = 0; i < 3; ++i) {
      auto receiver = spawn_receiver(a);
      await_parked(receiver);
      a.send("lost");
      EXPECT_EQ(receiver.get(), std::errc::connection_refused);
    }
    // Now somebody is there.
    auto b = udp_socket::bind(closed);
    a.send("hello");
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "hello");
    b.send_to("answer", a.local());
    EXPECT_EQ(text(a.recv(buffer), buffer), "answer");
  });
}

TEST_P(udp_test, what_an_earlier_peer_refused_does_not_meet_the_next_one) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[8];
    for (int i = 0; i < 20; ++i) {
      a.connect(nobody());
      a.send("lost");
      a.connect(endpoint());
      EXPECT_EQ(error_of([&] { (void)a.remote(); }), std::errc::not_connected);
      b.send_to("one", a.local());
      EXPECT_EQ(text(a.recv_from(buffer), buffer), "one");
    }
  });
}

TEST_P(udp_test, a_connected_socket_hears_its_peer_alone) {
  on_fiber([] {
    auto a = here(), b = here(), stranger = here();
    a.connect(b.local());
    EXPECT_EQ(a.remote(), b.local());
    stranger.send_to("stranger", a.local());
    b.send_to("friend", a.local());
    char buffer[16];
    const datagram got = a.recv(buffer);
    EXPECT_EQ(text(got, buffer), "friend");
    EXPECT_EQ(got.from, endpoint());
    EXPECT_EQ(error_of([&] { b.send("to whom?"); }), std::errc::destination_address_required);
    EXPECT_EQ(error_of([&] { b.send_to("to whom?", endpoint()); }),
              std::errc::address_family_not_supported);
    EXPECT_EQ(error_of([&] { b.send_to("x", endpoint::parse("[::1]:9")); }),
              std::errc::address_family_not_supported);
  });
}

TEST_P(udp_test, a_peek_leaves_the_message) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[8];
    auto peeker = spawn([&] { return b.peek_from(std::span<char>(buffer, 2)); });
    a.send_to("first", b.local());
    const datagram peeked = peeker.get();
    EXPECT_EQ(text(peeked, buffer), "fi");
    EXPECT_TRUE(peeked.truncated);
    EXPECT_EQ(peeked.from, a.local());
    EXPECT_EQ(b.peek_from(buffer).size, 5U);
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "first");
  });
}

TEST_P(udp_test, a_batch_takes_what_is_there_and_waits_for_the_first) {
  on_fiber([] {
    auto a = here(), b = here();
    char memory[100][8];
    std::vector<receive_slot> slots;
    for (auto& m : memory) slots.push_back({std::as_writable_bytes(std::span(m))});
    auto receiver = spawn([&] { return b.recv_batch(slots); });
    await_parked(receiver);
    a.send_to("0", b.local());
    EXPECT_EQ(receiver.get(), 1U);

    std::vector<std::string> texts;
    for (int i = 0; i < 80; ++i) texts.push_back(std::to_string(i));
    texts[7] = "too long for eight";
    texts[9] = "";
    std::vector<send_slot> out;
    for (const std::string& t : texts) out.push_back({std::as_bytes(std::span(t)), b.local()});
    EXPECT_EQ(a.send_batch(out), 80U);
    std::size_t got = 0, calls = 0;
    while (got < 80) {
      const std::size_t n = b.recv_batch(std::span(slots).subspan(got));
      ASSERT_GT(n, 0U);
      got += n;
      ++calls;
    }
    EXPECT_LE(calls, 3U) << "one by one";
    for (std::size_t i = 0; i < 80; ++i) {
      EXPECT_EQ(text(slots[i].got, memory[i]), std::string_view(texts[i]).substr(0, 8));
      EXPECT_EQ(slots[i].got.from, a.local());
      EXPECT_EQ(slots[i].got.truncated, i == 7);
    }
    EXPECT_EQ(b.recv_batch({}), 0U);
    EXPECT_EQ(a.send_batch({}), 0U);
  });
}

TEST_P(udp_test, a_batch_tells_how_much_went_out_before_the_one_that_failed) {
  on_fiber([] {
    auto a = here(), b = here();
    const std::string small = "small", huge(70'000, 'x');
    std::vector<send_slot> out(5, {std::as_bytes(std::span(small)), b.local()});
    out[3].bytes = std::as_bytes(std::span(huge));
    std::error_code error;
    EXPECT_EQ(a.send_batch(out, error), 3U);
    EXPECT_EQ(error, std::errc::message_size);
    EXPECT_EQ(error_of([&] { a.send_batch(out); }), std::errc::message_size);
    out[3].bytes = out[2].bytes;
    out[3].to = endpoint();  // to a peer that there is not
    EXPECT_EQ(a.send_batch(out, error), 3U);
    EXPECT_EQ(error, std::errc::destination_address_required);
  });
}

TEST_P(udp_test, a_cancelled_receive_has_taken_nothing) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[64];
    std::memset(buffer, 'x', sizeof buffer);
    auto receiver = spawn([&] { (void)b.recv_from(buffer); });
    await_parked(receiver);
    receiver.cancel();
    EXPECT_THROW(receiver.get(), cancelled);
    a.send_to("late", b.local());
    for (const char c : buffer) EXPECT_EQ(c, 'x');
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "late");
    EXPECT_THROW(with_timeout(5ms, [&] { (void)b.recv_from(buffer); }), timed_out);
  });
}

TEST_P(udp_test, cancellation_races_with_arrival_and_loses_no_message) {
  on_fiber([] {
    std::atomic<unsigned> values{0}, cancellations{0};
    const auto race = [&](unsigned seed) {
      std::mt19937 random(seed);
      auto a = here(), b = here();
      const endpoint to = b.local();
      unsigned sent = 0, got = 0;
      for (int i = 0; i < rounds(300); ++i) {
        auto buffer = std::make_unique<char[]>(4);  // freed at once: a late write would be found
        auto receiver = spawn([&] { return b.recv_from(std::span<char>(buffer.get(), 4)); });
        for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
        if (random() % 2) a.send_to("x", to), ++sent;
        for (unsigned n = random() % 2; n != 0; --n) this_fiber::yield();
        receiver.cancel();
        try {
          got += receiver.get().size == 1;
          ++values;
        } catch (const cancelled&) {
          ++cancellations;
        }
      }
      a.send_to("end", to);
      char rest[4];
      while (b.recv_from(rest).size == 1) ++got;
      EXPECT_EQ(got, sent);
    };
    std::vector<task<void>> races;
    for (unsigned t = 1; t <= 4; ++t) races.push_back(spawn(race, t));
    for (auto& r : races) r.get();
    std::printf("values %u, cancellations %u\n", values.load(), cancellations.load());
    EXPECT_GT(values.load() * 100, values.load() + cancellations.load());
    EXPECT_GT(cancellations.load() * 100, values.load() + cancellations.load());
  });
}

TEST_P(udp_test, close_ends_what_is_parked_from_any_fiber_or_thread) {
  on_fiber([] {
    auto a = here();
    auto receiver = spawn_receiver(a);
    await_parked(receiver);
    a.close();
    EXPECT_EQ(receiver.get(), std::errc::operation_canceled);
    a.close();

    auto b = here();
    b.connect(b.local());
    receiver = spawn_receiver(b);
    await_parked(receiver);
    std::thread closer([&] { b.close(); });
    EXPECT_EQ(receiver.get(), std::errc::operation_canceled);
    closer.join();

    auto c = here();
    c.connect(c.local());
    receiver = spawn_receiver(c);
    await_parked(receiver);
    const int fd = c.release();
    EXPECT_EQ(receiver.get(), std::errc::operation_canceled);
    auto again = udp_socket::adopt(fd);
    again.send("self");
    char buffer[8];
    EXPECT_EQ(text(again.recv(buffer), buffer), "self");
  });
}

// Numbers are used again at once: a receive that outlives its close would take another's message.
TEST_P(udp_test, a_storm_of_closes_under_receivers_never_mixes_sockets) {
  on_fiber([] {
    std::atomic<unsigned> wrong{0}, closed{0}, got{0};
    const auto storm = [&](unsigned tag) {
      std::mt19937 random(tag);
      auto sender = here();
      for (int i = 0; i < rounds(150); ++i) {
        auto s = here();
        const unsigned mark = tag << 20 | static_cast<unsigned>(i);
        auto receiver = spawn([&] {
          unsigned value = 0;
          std::error_code error;
          s.recv_from(std::as_writable_bytes(std::span(&value, 1)), error);
          if (!error)
            ++got, wrong += value != mark;
          else
            ++closed, wrong += error != std::errc::operation_canceled &&
                               error != std::errc::bad_file_descriptor;
        });
        for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
        if (random() % 2) sender.send_to(std::as_bytes(std::span(&mark, 1)), s.local());
        if (random() % 2) this_fiber::yield();
        s.close();
        receiver.get();
      }
    };
    std::vector<task<void>> storms;
    for (unsigned t = 1; t <= 4; ++t) storms.push_back(spawn(storm, t));
    for (auto& s : storms) s.get();
    EXPECT_EQ(wrong.load(), 0U);
    std::printf("received %u, closed %u\n", got.load(), closed.load());
    EXPECT_GT(closed.load() * 100, got.load() + closed.load());
    EXPECT_GT(got.load() * 100, got.load() + closed.load());
  });
}

TEST_P(udp_test, a_deadline_ends_the_receive_and_can_be_moved) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[8];
    const auto start = clock::now();
    a.set_read_deadline(start + 20ms);
    EXPECT_EQ(error_of([&] { (void)a.recv_from(buffer); }), std::errc::timed_out);
    EXPECT_GE(clock::now() - start, 20ms);
    EXPECT_EQ(error_of([&] { (void)a.recv_batch({}); }), std::errc::timed_out);
    a.set_read_deadline(clock::time_point::max());
    auto receiver = spawn_receiver(a);
    await_parked(receiver);
    a.set_read_deadline(clock::now());
    EXPECT_EQ(receiver.get(), std::errc::timed_out);
    a.set_read_deadline(clock::time_point::max());
    b.send_to("there", a.local());
    EXPECT_EQ(text(a.recv_from(buffer), buffer), "there");
    a.set_write_deadline(clock::now() - 1s);
    EXPECT_EQ(error_of([&] { a.send_to("x", b.local()); }), std::errc::timed_out);
  });
}

TEST_P(udp_test, a_second_receiver_is_refused_and_the_first_goes_on) {
  on_fiber([] {
    auto a = here(), b = here();
    char buffer[8];
    auto first = spawn([&] {
      char own[8];
      return a.recv_from(own).size;
    });
    await_parked(first);
    EXPECT_EQ(error_of([&] { (void)a.recv_from(buffer); }), std::errc::operation_in_progress);
    EXPECT_EQ(error_of([&] { (void)a.peek_from(buffer); }), std::errc::operation_in_progress);
    a.send_to("sending is safe meanwhile", b.local());
    b.send_to("abc", a.local());
    EXPECT_EQ(first.get(), 3U);
  });
}

TEST_P(udp_test, a_closed_socket_is_a_bad_descriptor) {
  on_fiber([] {
    auto a = here();
    udp_socket none;
    a.close();
    char buffer[8];
    const std::errc bad = std::errc::bad_file_descriptor;
    for (udp_socket* s : {&none, &a}) {
      EXPECT_FALSE(s->is_open());
      EXPECT_EQ(s->native_handle(), -1);
      EXPECT_EQ(error_of([&] { (void)s->recv_from(buffer); }), bad);
      EXPECT_EQ(error_of([&] { (void)s->recv_batch({}); }), bad);
      EXPECT_EQ(error_of([&] { s->send_to("x", any_port); }), bad);
      EXPECT_EQ(error_of([&] { s->send_batch({}); }), bad);
      EXPECT_EQ(error_of([&] { s->connect(any_port); }), bad);
      EXPECT_EQ(error_of([&] { (void)s->local(); }), bad);
      EXPECT_EQ(error_of([&] { s->set_broadcast(true); }), bad);
      EXPECT_EQ(error_of([&] { s->join_group(endpoint::parse("239.1.2.3:0")); }), bad);
      EXPECT_EQ(error_of([&] { (void)s->receive_buffer(); }), bad);
    }
  });
}

TEST_P(udp_test, many_sockets_echo_at_once) {
  on_fiber([] {
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i)
      all.push_back(spawn([i] {
        auto server = here(), client = here();
        auto echo = spawn([&server] {
          char buffer[64];
          for (;;) {
            const datagram got = server.recv_from(buffer);
            if (got.size == 0) return;
            server.send_to(std::string_view(buffer, got.size), got.from);
          }
        });
        char buffer[64];
        for (int n = 0; n < rounds(50); ++n) {
          const std::string message = std::to_string(i) + ' ' + std::to_string(n);
          client.send_to(message, server.local());
          EXPECT_EQ(text(client.recv_from(buffer), buffer), message);
        }
        client.send_to("", server.local());
        echo.get();
      }));
    for (auto& t : all) t.get();
  });
}

TEST(plain_thread, may_not_use_datagrams) {
  EXPECT_EQ(error_of([] { udp_socket::bind(any_port); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { udp_socket().connect(any_port); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { unix_datagram::pair(); }), std::errc::operation_not_permitted);
  EXPECT_EQ(error_of([] { unix_datagram::bind(); }), std::errc::operation_not_permitted);
  char buffer[8];
  EXPECT_EQ(error_of([&] { (void)udp_socket().recv_from(buffer); }),
            std::errc::operation_not_permitted);
}

}  // namespace
}  // namespace coir::testing
