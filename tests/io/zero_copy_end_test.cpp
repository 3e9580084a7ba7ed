// Writes from the caller's memory that have to end before the peer has acknowledged them.
#include <algorithm>
#include <random>

#include "zero_copy_fixture.hpp"

namespace coir::testing {
namespace {

class zero_copy_end_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, zero_copy_end_test, every_rung(), rung_name);

TEST_P(zero_copy_end_test, a_cancelled_write_that_the_peer_takes_has_succeeded) {
  on_fiber([] {
    stalled_write w(long_patience);
    w.writing.cancel();
    this_fiber::sleep_for(2ms);
    EXPECT_EQ(w.writing.done(), !lends());
    EXPECT_TRUE(read(w.ends.second, taken_at_once) == w.sent);
    EXPECT_FALSE(w.writing.get());
    w.ends.first.write("more");
    EXPECT_EQ(read(w.ends.second, 4), "more");
  });
}

TEST_P(zero_copy_end_test, a_cancelled_write_that_the_peer_does_not_take_resets_the_connection) {
  on_fiber([] {
    for (const auto patience : {0ms, 3ms}) {
      stalled_write w(patience);
      if (!lends()) return w.writing.get(), void();
      w.writing.cancel();
      EXPECT_THROW(w.writing.get(), cancelled);
      EXPECT_EQ(w.ends.first.bytes_written(), taken_at_once);
      std::fill(w.text.begin(), w.text.end(), '!');
      expect_beginning_and_reset(w.ends.second, w.sent);
      EXPECT_NE(error_of([&] { w.ends.first.write("x"); }), std::error_code());
    }
  });
}

TEST_P(zero_copy_end_test, a_timeout_ends_a_write_that_the_peer_does_not_take) {
  on_fiber([] {
    auto [a, b] = stalling_pair();
    a.set_zero_copy(1, no_patience);
    std::string text = pattern(taken_at_once);
    if (!lends()) return;
    EXPECT_THROW(with_timeout(20ms, [&, &a = a] { a.write(text); }), timed_out);
    std::fill(text.begin(), text.end(), '!');
    expect_beginning_and_reset(b, pattern(taken_at_once));
  });
}

TEST_P(zero_copy_end_test, a_deadline_ends_a_write_that_the_peer_does_not_take) {
  on_fiber([] {
    for (const bool in_mid_call : {false, true}) {
      auto [a, b] = stalling_pair();
      a.set_zero_copy(1, no_patience);
      std::string text = pattern(taken_at_once);
      if (!in_mid_call) a.set_write_deadline(clock::now() + 20ms);
      auto writing = spawn([&, &a = a] {
        std::error_code error;
        const std::size_t n = a.write(text, error);
        std::fill(text.begin(), text.end(), '!');
        return std::pair(n, error);
      });
      EXPECT_TRUE(eventually_on_fiber([&, &a = a] { return a.bytes_written() == text.size(); }));
      if (in_mid_call) a.set_write_deadline(clock::now());
      const auto [n, error] = writing.get();
      EXPECT_EQ(n, taken_at_once);
      EXPECT_EQ(error, lends() ? std::errc::timed_out : std::errc{});
      if (lends()) expect_beginning_and_reset(b, pattern(taken_at_once));
    }
  });
}

TEST_P(zero_copy_end_test, a_deadline_that_is_moved_meanwhile_is_the_later_one) {
  on_fiber([] {
    stalled_write w(no_patience);
    w.ends.first.set_write_deadline(clock::now() + 60s);
    w.ends.first.set_write_deadline(clock::now() + 50s);
    w.ends.first.set_write_deadline(sched::never);
    EXPECT_TRUE(read(w.ends.second, taken_at_once) == w.sent);
    EXPECT_FALSE(w.writing.get());
  });
}

TEST_P(zero_copy_end_test, close_waits_for_the_peer_and_loses_nothing) {
  on_fiber([] {
    stalled_write w(long_patience);
    auto closing = spawn([&] { w.ends.first.close(); });
    EXPECT_TRUE(read(w.ends.second, taken_at_once) == w.sent);
    char c[1];
    EXPECT_EQ(w.ends.second.read_some(c), 0U);  // an end, no reset
    EXPECT_FALSE(w.writing.get());
    closing.get();
  });
}

TEST_P(zero_copy_end_test, close_waits_no_longer_than_its_patience) {
  on_fiber([] {
    stalled_write w(no_patience);
    w.ends.first.close();
    if (!lends()) return w.writing.get(), void();
    EXPECT_EQ(w.writing.get(), std::errc::operation_canceled);
    expect_beginning_and_reset(w.ends.second, w.sent);
  });
}

// The kernel has taken a part, of which it may hold memory, and waits for room.
TEST_P(zero_copy_end_test, a_write_that_is_cancelled_in_the_middle_tells_how_much_went_out) {
  on_fiber([] {
    auto [a, b] = stalling_pair();
    a.set_zero_copy(1, no_patience);
    const std::string sent = pattern(8 * mib);
    std::string text = sent;
    auto writing = spawn([&, &a = a] { a.write(text); });
    await_parked(writing);
    this_fiber::sleep_for(2ms);
    writing.cancel();
    EXPECT_THROW(writing.get(), cancelled);
    EXPECT_LT(a.bytes_written(), text.size());
    std::fill(text.begin(), text.end(), '!');
    if (lends()) {
      expect_beginning_and_reset(b, sent);
    } else {
      const std::size_t n = a.bytes_written();
      a.close();
      EXPECT_TRUE(reader(b).read_all() == sent.substr(0, n));
    }
  });
}

// F59
TEST_P(zero_copy_end_test, a_reset_by_the_peer_gives_the_memory_back) {
  on_fiber([] {
    stalled_write w(long_patience);
    w.ends.second.close();          // with bytes that nobody has read
    EXPECT_FALSE(w.writing.get());  // all had gone out
    EXPECT_TRUE(eventually_on_fiber(
        [&] { return error_of([&] { w.ends.first.write("x"); }) != std::error_code(); }));
  });
}

// F57
TEST_P(zero_copy_end_test, a_runtime_that_ends_takes_its_writes_along) {
  const std::size_t before = open_descriptors();
  {
    options o;
    o.workers = GetParam().workers;
    o.reactor = GetParam().kind;
    runtime r(o);
    std::atomic<int> begun{0}, ended{0};
    for (int i = 0; i < 20; ++i)
      r.spawn([&, i] {
         auto [a, b] = stalling_pair();
         a.set_zero_copy(1, i % 2 == 0 ? 0ms : 20ms);
         std::string text = pattern(i % 4 < 2 ? taken_at_once : 4 * mib);
         ++begun;
         try {
           a.write(text);
           this_fiber::sleep_for(1h);
         } catch (...) {
           std::fill(text.begin(), text.end(), '!');
           ++ended;
           throw;
         }
       }).detach();
    EXPECT_TRUE(eventually([&] { return begun == 20; }));
    std::this_thread::sleep_for(5ms);
    r.shutdown();
    EXPECT_EQ(ended.load(), 20);
  }
  EXPECT_EQ(open_descriptors(), before);
}

// A cancellation against the acknowledgement: either way the bytes that the peer has got are those
// that were sent, and the memory is the writer's.
TEST_P(zero_copy_end_test, a_cancellation_races_with_the_notification) {
  if (GetParam().workers == 8) return;
  on_fiber([] {
    int succeeded = 0, stopped = 0;
    const auto start = clock::now();
    std::minstd_rand random(11);
    const auto goes_on = [&](int i) {
      if (i < rounds(60)) return true;
      return lends() && (succeeded == 0 || stopped == 0) && clock::now() - start < 20s;
    };
    for (int i = 0; goes_on(i); ++i) {
      auto [a, b] = stalling_pair();
      a.set_zero_copy(1, i % 3 == 0 ? 1ms : 0ms);
      const std::string sent = pattern(taken_at_once, static_cast<std::size_t>(i));
      std::string text = sent;
      auto writing = spawn([&, &a = a] {
        try {
          a.write(text);
        } catch (...) {
          std::fill(text.begin(), text.end(), '!');
          throw;
        }
        std::fill(text.begin(), text.end(), '!');
      });
      auto reading = spawn([&, &b = b] {
        std::string got(sent.size(), '\0');
        std::error_code error;
        got.resize(b.read_exactly(got, error));
        return got;
      });
      this_fiber::sleep_for(std::chrono::microseconds(random() % (1 + 40 * (unsigned(i) % 40))));
      writing.cancel();
      bool done = true;
      try {
        writing.get();
      } catch (const cancelled&) {
        done = false;
      }
      ++(done ? succeeded : stopped);
      a.close();
      const std::string got = reading.get();
      EXPECT_TRUE(got == sent.substr(0, got.size())) << i;
      EXPECT_TRUE(!done || got.size() == sent.size()) << i;
    }
    std::printf("%d acknowledged, %d stopped\n", succeeded, stopped);
    EXPECT_TRUE(!lends() || (succeeded != 0 && stopped != 0));
  });
}

}  // namespace
}  // namespace coir::testing
