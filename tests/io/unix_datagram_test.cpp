// Unix-domain datagrams, on every rung: order, addresses, full receivers, socket files.
#include <fstream>

#include "datagrams.hpp"

namespace coir::testing {
namespace {

class unix_datagram_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, unix_datagram_test, every_rung(), rung_name);

std::string path_here(const char* name) {
  return "/tmp/coir-test-" + std::to_string(::getpid()) + name;
}
endpoint at(const std::string& path) { return endpoint::parse("unix:" + path); }

// Sends until the receiver is full; how many fitted.
template <class Send>
int fill(Send send) {
  for (int n = 0;; ++n) try {
      with_timeout(30ms, [&] { send(std::to_string(n)); });
    } catch (const timed_out&) {
      return n;
    }
}

TEST_P(unix_datagram_test, a_pair_keeps_the_bounds_of_messages) {
  on_fiber([] {
    auto [a, b] = unix_datagram::pair();
    char buffer[16];
    a.send("one");
    a.send("");
    a.send("a longer one than fits");
    EXPECT_EQ(text(b.recv_from(buffer), buffer), "one");
    const datagram empty = b.recv_from(buffer);
    EXPECT_EQ(empty.size, 0U);
    EXPECT_EQ(empty.from, endpoint()) << "it has no address";
    EXPECT_TRUE(b.recv(buffer).truncated);
    b.send("back");
    EXPECT_EQ(text(a.recv(buffer), buffer), "back");
  });
}

TEST_P(unix_datagram_test, senders_are_known_by_their_path_or_name) {
  on_fiber([] {
    const std::string path = path_here(".dgram");
    const std::string name = "@coir-test-" + std::to_string(::getpid());
    auto server = unix_datagram::bind(at(path));
    auto by_path = unix_datagram::bind(at(path + "2")), by_name = unix_datagram::bind(at(name));
    auto chosen = unix_datagram::bind();
    EXPECT_EQ(server.local(), at(path));
    EXPECT_FALSE(chosen.local().path().empty());
    char buffer[16];
    for (unix_datagram* client : {&by_path, &by_name, &chosen}) {
      client->connect(server.local());
      EXPECT_EQ(client->remote(), server.local());
      client->send("hello");
      const datagram got = server.recv_from(buffer);
      EXPECT_EQ(got.from, client->local());
      server.send_to("answer", got.from);
      EXPECT_EQ(text(client->recv_from(buffer), buffer), "answer");
    }
  });
}

TEST_P(unix_datagram_test, a_full_receiver_makes_the_connected_sender_wait) {
  on_fiber([] {
    auto receiver = unix_datagram::bind(), sender = unix_datagram::bind();
    sender.connect(receiver.local());
    const int fitted = fill([&](const std::string& s) { sender.send(s); });
    ASSERT_GT(fitted, 0);
    auto more = spawn([&] { sender.send("more"); });
    await_parked(more);
    EXPECT_EQ(error_of([&] { sender.send("second"); }), std::errc::operation_in_progress);
    char buffer[16];
    for (int n = 0; n < fitted; ++n)
      EXPECT_EQ(text(receiver.recv(buffer), buffer), std::to_string(n));
    more.get();
    EXPECT_EQ(text(receiver.recv(buffer), buffer), "more");
  });
}

// No event of the kernel tells such a sender of the room.
TEST_P(unix_datagram_test, a_full_receiver_makes_any_sender_wait) {
  on_fiber([] {
    auto receiver = unix_datagram::bind(), sender = unix_datagram::bind();
    const endpoint to = receiver.local();
    const int fitted = fill([&](const std::string& s) { sender.send_to(s, to); });
    ASSERT_GT(fitted, 0);
    auto more = spawn([&] { sender.send_to("more", to); });
    await_parked(more);
    char buffer[16];
    for (int n = 0; n < fitted; ++n)
      EXPECT_EQ(text(receiver.recv(buffer), buffer), std::to_string(n));
    more.get();
    EXPECT_EQ(text(receiver.recv(buffer), buffer), "more");

    fill([&](const std::string& s) { sender.send_to(s, to); });
    sender.set_write_deadline(clock::now() + 5ms);
    EXPECT_EQ(error_of([&] { sender.send_to("late", to); }), std::errc::timed_out);
    sender.set_write_deadline(clock::time_point::max());
    auto closed = spawn([&] { return error_of([&] { sender.send_to("late", to); }); });
    await_parked(closed);
    sender.close();
    EXPECT_EQ(closed.get(), std::errc::operation_canceled);
  });
}

TEST_P(unix_datagram_test, nothing_is_lost_and_all_is_in_order) {
  on_fiber([] {
    auto receiver = unix_datagram::bind();
    const endpoint to = receiver.local();
    constexpr unsigned senders = 4;
    const unsigned each = static_cast<unsigned>(rounds(300));
    std::vector<task<void>> all;
    for (unsigned s = 0; s < senders; ++s)
      all.push_back(spawn([=] {
        auto own = unix_datagram::bind();
        if (s % 2) own.connect(to);
        for (unsigned n = 0; n < each; ++n) {
          const unsigned message[] = {s, n};
          const auto bytes = std::as_bytes(std::span(message));
          s % 2 ? own.send(bytes) : own.send_to(bytes, to);
        }
      }));
    unsigned next[senders] = {}, message[2];
    for (unsigned n = 0; n < senders * each; ++n) {
      ASSERT_EQ(receiver.recv(std::as_writable_bytes(std::span(message))).size, sizeof message);
      ASSERT_EQ(message[1], next[message[0]]++);
    }
    for (auto& t : all) t.get();
  });
}

TEST_P(unix_datagram_test, a_batch_into_a_full_receiver_goes_on_when_there_is_room) {
  on_fiber([] {
    auto receiver = unix_datagram::bind(), sender = unix_datagram::bind();
    sender.connect(receiver.local());
    std::vector<unsigned> numbers(500);
    std::vector<send_slot> out;
    for (unsigned i = 0; i < numbers.size(); ++i) {
      numbers[i] = i;
      out.push_back({std::as_bytes(std::span(&numbers[i], 1))});
    }
    auto sending = spawn([&] { return sender.send_batch(out); });
    unsigned value = 0;
    for (unsigned i = 0; i < numbers.size(); ++i) {
      receiver.recv(std::as_writable_bytes(std::span(&value, 1)));
      ASSERT_EQ(value, i);
    }
    EXPECT_EQ(sending.get(), numbers.size());
  });
}

TEST_P(unix_datagram_test, a_receiver_that_has_gone_is_an_error_of_the_send) {
  on_fiber([] {
    auto sender = unix_datagram::bind();
    endpoint gone;
    { gone = unix_datagram::bind().local(); }
    EXPECT_EQ(error_of([&] { sender.send_to("x", gone); }), std::errc::connection_refused);
    EXPECT_EQ(error_of([&] { sender.connect(gone); }), std::errc::connection_refused);
    EXPECT_EQ(error_of([&] { sender.send("x"); }), std::errc::not_connected);
    EXPECT_EQ(error_of([&] { sender.send_to("x", at("/nowhere/x.sock")); }),
              std::errc::no_such_file_or_directory);
    auto [a, b] = unix_datagram::pair();
    b.close();
    EXPECT_EQ(error_of([&a = a] { a.send("x"); }), std::errc::connection_refused);
    auto stream = unix_listener::bind(at(path_here(".stream")));
    EXPECT_EQ(error_of([&] { sender.send_to("x", stream.local()); }),
              std::errc::wrong_protocol_type);
  });
}

// F71
TEST_P(unix_datagram_test, a_socket_file_goes_with_its_socket_unless_another_is_there) {
  on_fiber([] {
    const std::string path = path_here(".file");
    {
      auto s = unix_datagram::bind(at(path));
      EXPECT_TRUE(std::filesystem::exists(path));
      auto moved = std::move(s);
      s = unix_datagram();
      EXPECT_TRUE(std::filesystem::exists(path));
    }
    EXPECT_FALSE(std::filesystem::exists(path));
    {
      auto s = unix_datagram::bind(at(path));
      std::filesystem::remove(path);
      std::ofstream(path) << "somebody else's";
    }
    EXPECT_TRUE(std::filesystem::remove(path)) << "another's file was removed";
    {
      auto first = unix_datagram::bind(at(path));
      std::filesystem::remove(path);
      auto second = unix_datagram::bind(at(path));
      first.close();
      EXPECT_TRUE(std::filesystem::exists(path)) << "the next socket's file was removed";
    }
    EXPECT_FALSE(std::filesystem::exists(path));
  });
}

// F71
TEST_P(unix_datagram_test, a_stale_socket_file_is_replaced_and_a_live_one_is_not) {
  on_fiber([] {
    const std::string path = path_here(".stale");
    auto live = unix_datagram::bind(at(path));
    EXPECT_EQ(error_of([&] { unix_datagram::bind(at(path), {.replace_stale = true}); }),
              std::errc::address_in_use);
    ::close(live.release());  // as when its process dies
    EXPECT_TRUE(std::filesystem::exists(path));
    EXPECT_EQ(error_of([&] { unix_datagram::bind(at(path)); }), std::errc::address_in_use);
    { auto s = unix_datagram::bind(at(path), {.replace_stale = true}); }
    EXPECT_FALSE(std::filesystem::exists(path));
    std::ofstream(path) << "no socket";
    EXPECT_EQ(error_of([&] { unix_datagram::bind(at(path), {.replace_stale = true}); }),
              std::errc::address_in_use);
    EXPECT_TRUE(std::filesystem::remove(path));
    EXPECT_EQ(error_of([] { unix_datagram::bind(any_port); }),
              std::errc::address_family_not_supported);
  });
}

}  // namespace
}  // namespace coir::testing
