// writer: what it keeps, when it sends, and what is left after a failure.
#include <map>
#include <random>

#include <sys/socket.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class writer_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, writer_test, every_rung(), rung_name);

// So that a few kilobytes that nobody reads fill them.
void set_buffers(const unix_stream& s, int bytes) {
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
std::string pattern(std::size_t size) {
  std::string v(size, '\0');
  for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
  return v;
}
// Counts what passes through, a few bytes at a time.
struct narrow {
  unix_stream& to;
  std::atomic<std::size_t> passed{0};
  std::size_t write_some(std::span<const std::byte> from, std::error_code& error) {
    const std::size_t n = to.write_some(from.first(std::min<std::size_t>(from.size(), 7)), error);
    passed += n;
    return n;
  }
};

TEST_P(writer_test, keeps_what_is_written_until_it_is_flushed) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    {
      writer w(a);
      w.write("abc");
      w.write(std::as_bytes(std::span("de", 2)));
      w.write("");
      EXPECT_EQ(w.buffered(), 5U);
      EXPECT_EQ(a.bytes_written(), 0U);
      w.flush();
      EXPECT_EQ(w.buffered(), 0U);
      char got[5];
      b.read_exactly(got);
      EXPECT_EQ(std::string_view(got, 5), "abcde");
      w.flush();
      w.write("never seen");
    }
    EXPECT_EQ(a.bytes_written(), 5U) << "its destructor flushed";
  });
}

TEST_P(writer_test, write_takes_any_amount_without_waiting) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    const std::string all = pattern(3'000'000);
    writer w(a, 100);
    for (std::size_t at = 0; at < all.size(); at += 100'000) w.write(all.substr(at, 100'000));
    EXPECT_EQ(w.buffered(), all.size());
    auto flushing = spawn([&] { w.flush(); });
    std::string got(all.size(), '\0');
    b.read_exactly(got);
    flushing.get();
    EXPECT_TRUE(got == all);
  });
}

TEST_P(writer_test, drain_waits_from_its_mark_on_and_sends_nothing_below) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    writer w(a, 8);
    EXPECT_EQ(w.high_water(), 8U);
    w.write("1234567");
    w.drain();
    EXPECT_EQ(a.bytes_written(), 0U);
    w.write("8");
    w.drain();
    EXPECT_LT(w.buffered(), 8U);
    EXPECT_EQ(a.bytes_written() + w.buffered(), 8U);
    writer zero(b, 0);
    zero.write("x");
    zero.drain();
    EXPECT_EQ(zero.buffered(), 0U);
    zero.drain();
  });
}

TEST_P(writer_test, drain_holds_who_writes_faster_than_the_peer_reads) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    writer w(a, 10'000);
    std::atomic<std::size_t> most{0};
    const std::string part = pattern(1000);
    auto writing = spawn([&] {
      for (int i = 0; i < 500; ++i) {
        w.write(part);
        most = std::max(most.load(), w.buffered());
        w.drain();
      }
      w.flush();
    });
    await_parked(writing);
    EXPECT_FALSE(writing.wait_for(20ms)) << "nobody reads, and nobody is held";
    std::string got(1000, '\0');
    for (int i = 0; i < 500; ++i) {
      b.read_exactly(got);
      ASSERT_TRUE(got == part);
    }
    writing.get();
    EXPECT_LE(most.load(), 10'999U);
  });
}

TEST_P(writer_test, any_number_of_fibers_write_and_drain_and_no_message_is_torn) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    writer w(a, 2000);
    constexpr int fibers = 20;
    const int messages = sanitized ? 30 : 200;
    std::vector<task<void>> writing;
    for (int f = 0; f < fibers; ++f)
      writing.push_back(spawn([&, f] {
        for (int i = 0; i < messages; ++i) {
          w.write(std::to_string(f) + ' ' + std::to_string(i) +
                  std::string(static_cast<std::size_t>(i % 300), '.') + '\n');
          w.drain();
        }
      }));
    auto reading = spawn([&b = b] {
      std::map<int, int> next;
      reader r(b);
      while (const auto line = r.read_line()) {
        int f = -1, i = -1;
        if (std::sscanf(line->c_str(), "%d %d", &f, &i) != 2 || next[f]++ != i) return false;
        const auto head = std::to_string(f) + ' ' + std::to_string(i);
        if (line->substr(head.size()) != std::string(static_cast<std::size_t>(i % 300), '.'))
          return false;
      }
      for (const auto& [f, n] : next)
        if (n != messages) return false;
      return next.size() == fibers;
    });
    for (auto& t : writing) t.get();
    w.flush();
    a.shutdown_write();
    EXPECT_TRUE(reading.get());
  });
}

// F61: exactly what has not gone out is still there, and goes out next.
TEST_P(writer_test, goes_on_where_a_cancellation_has_struck) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    const std::string all = pattern(300'000);
    writer w(a);
    w.write(all);
    auto flushing = spawn([&] { w.flush(); });
    await_parked(flushing);
    flushing.cancel();
    EXPECT_THROW(flushing.get(), cancelled);
    ASSERT_EQ(a.bytes_written() + w.buffered(), all.size());
    EXPECT_THROW(with_timeout(5ms, [&] { w.flush(); }), timed_out);
    a.set_write_deadline(clock::now() + 5ms);
    EXPECT_EQ(error_of([&] { w.flush(); }), std::errc::timed_out);
    EXPECT_EQ(error_of([&] { w.drain(); }), std::errc::timed_out);
    EXPECT_EQ(a.bytes_written() + w.buffered(), all.size());
    a.set_write_deadline(clock::time_point::max());
    auto again = spawn([&] { w.flush(); });
    std::string got(all.size(), '\0');
    b.read_exactly(got);
    again.get();
    EXPECT_TRUE(got == all);
  });
}

TEST_P(writer_test, those_who_wait_go_on_when_the_one_that_sends_is_cancelled) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    const std::string all = pattern(300'000);
    writer w(a, 100);
    w.write(all);
    std::vector<task<void>> waiting;
    for (int i = 0; i < 4; ++i) {
      waiting.push_back(spawn([&, i] { i % 2 == 0 ? w.flush() : w.drain(); }));
      await_parked(waiting.back());
    }
    waiting[0].cancel();  // it sends
    waiting[2].cancel();  // it waits for its turn
    EXPECT_THROW(waiting[0].get(), cancelled);
    EXPECT_THROW(waiting[2].get(), cancelled);
    std::string got(all.size(), '\0');
    b.read_exactly(got);
    waiting[1].get();
    waiting[3].get();
    EXPECT_TRUE(got == all);
  });
}

TEST_P(writer_test, cancellations_that_race_with_the_sending_lose_and_repeat_nothing) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    unsigned done = 0, cancellations = 0;
    narrow slow{a, {}};
    writer w(slow);
    auto reading = spawn([&b = b] { return reader(b).read_all(); });
    std::string sent;
    std::mt19937 random(3);
    for (int i = 0; i < rounds(500); ++i) {
      const std::string part = pattern(random() % 200);
      sent += part;
      w.write(part);
      auto flushing = spawn([&] { w.flush(); });
      for (unsigned n = random() % 12; n != 0; --n) this_fiber::yield();
      if (random() % 8 == 0) flushing.wait();  // else what is left piles up
      flushing.cancel();
      flushing.error() == nullptr ? ++done : ++cancellations;
      ASSERT_EQ(slow.passed + w.buffered(), sent.size());
    }
    w.flush();
    a.shutdown_write();
    EXPECT_TRUE(reading.get() == sent);
    std::printf("done %u, cancelled %u\n", done, cancellations);
    EXPECT_GT(done * 100, done + cancellations);
    EXPECT_GT(cancellations * 100, done + cancellations);
  });
}

TEST_P(writer_test, an_error_of_the_stream_reaches_everybody_who_drains) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    writer w(a, 100);
    w.write(pattern(100'000));
    std::vector<task<std::error_code>> draining;
    for (int i = 0; i < 3; ++i) {
      draining.push_back(spawn([&] { return error_of([&] { w.drain(); }); }));
      await_parked(draining.back());
    }
    b.close();
    for (auto& d : draining) {
      const std::error_code e = d.get();
      EXPECT_TRUE(e == std::errc::broken_pipe || e == std::errc::connection_reset) << e.message();
    }
    std::error_code error;
    w.flush(error);
    EXPECT_EQ(error, std::errc::broken_pipe);
    EXPECT_NE(w.buffered(), 0U);
  });
}

TEST_P(writer_test, a_close_ends_who_flushes) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    set_buffers(a, 4096);
    writer w(a);
    w.write(pattern(100'000));
    auto flushing = spawn([&] { return error_of([&] { w.flush(); }); });
    await_parked(flushing);
    a.close();
    EXPECT_EQ(flushing.get(), std::errc::operation_canceled);
  });
}

TEST(plain_thread, may_write_and_not_flush) {
  tcp_stream none;
  writer w(none);
  w.write("abc");
  EXPECT_EQ(error_of([&] { w.flush(); }), std::errc::operation_not_permitted);
  EXPECT_EQ(w.buffered(), 3U);
}

}  // namespace
}  // namespace coir::testing
