// reader on streams of the library, on each rung: what it keeps when a call is cancelled, times out
// or is refused.
#include <random>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class reader_stream_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, reader_stream_test, every_rung(), rung_name);

// Each of these waits for what does not come, although something has.
using waiting_call = std::function<void(reader<unix_stream>&)>;
const waiting_call waiting_calls[] = {
    [](auto& r) { r.read_exactly(8); },
    [](auto& r) { r.read_line(); },
    [](auto& r) { r.read_until("t"); },
    [](auto& r) { r.read_all(); },
};

TEST_P(reader_stream_test, what_was_buffered_can_be_read_after_a_cancellation) {
  on_fiber([] {
    for (const auto& call : waiting_calls) {
      auto [a, b] = unix_stream::pair();
      reader r(a);
      b.write("half");
      auto reading = spawn([&] { call(r); });
      await_parked(reading);
      reading.cancel();
      EXPECT_THROW(reading.get(), cancelled);
      b.write("rest");
      EXPECT_EQ(r.read_exactly(8), "halfrest");
    }
  });
}

TEST_P(reader_stream_test, what_was_buffered_can_be_read_after_a_timeout) {
  on_fiber([] {
    for (const auto& call : waiting_calls) {
      auto [a, b] = unix_stream::pair();
      reader r(a);
      b.write("half");
      EXPECT_THROW(with_timeout(5ms, [&] { call(r); }), timed_out);
      a.set_read_deadline(clock::now() + 5ms);
      EXPECT_EQ(error_of([&] { call(r); }), std::errc::timed_out);
      a.set_read_deadline(clock::time_point::max());
      b.write("rest");
      EXPECT_EQ(r.read_exactly(8), "halfrest");
    }
  });
}

TEST_P(reader_stream_test, what_was_buffered_can_be_read_after_the_stream_was_closed) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    reader r(a);
    b.write("one\nhalf");
    EXPECT_EQ(r.read_line(), "one");
    auto reading = spawn([&] { return error_of([&] { r.read_line(); }); });
    await_parked(reading);
    a.close();
    EXPECT_EQ(reading.get(), std::errc::operation_canceled);
    EXPECT_EQ(r.read(8), "half");
    EXPECT_EQ(error_of([&] { r.read(8); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(reader_stream_test, a_cancellation_strikes_though_the_line_is_there) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    b.write("one\ntwo\n");
    reader r(a);
    EXPECT_EQ(r.read_line(), "one");
    std::atomic<bool> go{false};
    auto reading = spawn([&] {
      while (!go) std::this_thread::yield();
      return r.read_line();
    });
    reading.cancel();
    go = true;
    EXPECT_THROW(reading.get(), cancelled);
    EXPECT_EQ(r.read_line(), "two");
  });
}

TEST_P(reader_stream_test, a_second_call_at_once_is_refused_and_the_first_goes_on) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    reader r(a);
    auto first = spawn([&] { return r.read_line(); });
    await_parked(first);
    EXPECT_EQ(error_of([&] { r.read(1); }), std::errc::operation_in_progress);
    EXPECT_EQ(error_of([&] { r.read_until("x"); }), std::errc::operation_in_progress);
    b.write("line\n");
    EXPECT_EQ(first.get(), "line");
  });
}

// F63: a byte now and then keeps no reader for ever.
TEST_P(reader_stream_test, a_deadline_cuts_a_line_that_trickles_in) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    std::atomic<int> sent{0};
    auto trickle = spawn([&sent, &b = b] {
      for (;; this_fiber::sleep_for(1ms)) b.write("x"), ++sent;
    });
    reader r(a);
    EXPECT_THROW(with_timeout(30ms, [&] { r.read_line(); }), timed_out);
    a.set_read_deadline(clock::now() + 30ms);
    EXPECT_EQ(error_of([&] { r.read_line(); }), std::errc::timed_out);
    a.set_read_deadline(clock::time_point::max());
    trickle.cancel();
    trickle.wait();
    b.close();
    EXPECT_EQ(r.read_all(), std::string(static_cast<std::size_t>(sent), 'x'));
  });
}

TEST_P(reader_stream_test, many_lines_arrive_exactly) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    const int many = sanitized ? 3000 : 30'000;
    auto sending = spawn([&b = b] {
      for (int i = 0; i < many; i += 100) {
        std::string some;
        for (int k = i; k < i + 100; ++k)
          some += std::to_string(k) + std::string(static_cast<std::size_t>(k % 50), '.') + '\n';
        b.write(some);
      }
      b.shutdown_write();
    });
    reader r(a);
    int next = 0;
    while (const auto line = r.read_line()) {
      ASSERT_EQ(*line,
                std::to_string(next) + std::string(static_cast<std::size_t>(next % 50), '.'));
      ++next;
    }
    EXPECT_EQ(next, many);
    sending.get();
  });
}

// Whatever a cancellation meets, the next call goes on where the last one that returned has ended.
TEST_P(reader_stream_test, cancellations_that_race_with_the_bytes_lose_none) {
  on_fiber([] {
    std::atomic<unsigned> values{0}, cancellations{0};
    const auto race = [&](unsigned seed) {
      std::mt19937 random(seed);
      auto [a, b] = unix_stream::pair();
      reader r(a);
      std::string sent, got;
      for (int i = 0; i < rounds(400); ++i) {
        auto reading = spawn([&] { return r.read_exactly(3); });
        for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
        const std::string part(random() % 5, static_cast<char>('a' + i % 26));
        b.write(part);
        sent += part;
        for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
        reading.cancel();
        try {
          got += reading.get();
          ++values;
        } catch (const cancelled&) {
          ++cancellations;
        }
      }
      b.close();
      got += r.read_all();
      EXPECT_TRUE(got == sent);
    };
    std::vector<task<void>> races;
    for (unsigned t = 1; t <= 4; ++t) races.push_back(spawn(race, t));
    for (auto& t : races) t.get();
    std::printf("values %u, cancellations %u\n", values.load(), cancellations.load());
    EXPECT_GT(values.load() * 100, values.load() + cancellations.load());
    EXPECT_GT(cancellations.load() * 100, values.load() + cancellations.load());
  });
}

TEST(plain_thread, may_not_wait_for_a_reader) {
  tcp_stream none;
  reader r(none);
  EXPECT_EQ(error_of([&] { r.read_line(); }), std::errc::operation_not_permitted);
}

}  // namespace
}  // namespace coir::testing
