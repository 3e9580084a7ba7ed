// What ends a call early: cancellation and close, against completion.
#include <cstring>
#include <memory>
#include <random>

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

std::chrono::microseconds processor_time() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return std::chrono::seconds(t.tv_sec) + std::chrono::microseconds(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

class cancel_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, cancel_test, every_rung(), rung_name);

TEST_P(cancel_test, a_cancelled_read_leaves_its_buffer_alone) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    char buffer[64];
    std::memset(buffer, 'x', sizeof buffer);
    auto reader = spawn([&a = a, &buffer] { (void)a.read_some(buffer); });
    await_parked(reader);
    reader.cancel();
    EXPECT_THROW(reader.get(), cancelled);
    b.write("late");
    this_fiber::sleep_for(5ms);
    for (const char c : buffer) EXPECT_EQ(c, 'x');
    EXPECT_EQ(a.read_some(buffer), 4U);  // nothing was lost
  });
}

TEST_P(cancel_test, a_cancelled_write_tells_how_much_went_out) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    const int small = 4096;
    ::setsockopt(a.native_handle(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    const std::vector<char> much(10'000'000);
    auto writer = spawn([&a = a, &much] { a.write(std::string_view(much.data(), much.size())); });
    await_parked(writer);
    writer.cancel();
    EXPECT_THROW(writer.get(), cancelled);
    const std::uint64_t sent = a.bytes_written();
    EXPECT_LT(sent, much.size());
    a.close();
    std::vector<char> buffer(100'000);
    std::uint64_t got = 0;
    while (const std::size_t n = b.read_some(buffer)) got += n;
    EXPECT_EQ(got, sent);
  });
}

// F47
TEST_P(cancel_test, cancelled_accepts_and_connects_leave_no_descriptor) {
  on_fiber([] {
    auto listener = tcp_listener::bind(any_port);
    const endpoint at = listener.local();
    const std::size_t before = open_descriptors();
    std::mt19937 random(7);
    int accepted = 0, dropped = 0;
    for (int i = 0; i < rounds(500); ++i) {
      auto accepting = spawn([&] { tcp_stream s = listener.accept(); });
      auto connecting = spawn([&] { tcp_stream s = tcp_stream::connect(at); });
      for (unsigned n = random() % 4; n != 0; --n) this_fiber::yield();
      if (random() % 2) accepting.cancel();
      if (random() % 2) connecting.cancel();
      connecting.wait();
      accepting.cancel();
      accepting.error() == nullptr ? ++accepted : ++dropped;
      (void)connecting.error();
      // What was connected and not accepted still waits in the backlog.
      for (;;) {
        auto rest = spawn([&] { tcp_stream s = listener.accept(); });
        if (rest.wait_for(0ms) || rest.wait_for(1ms)) {
          rest.get();
          continue;
        }
        rest.cancel();
        if (rest.error() != nullptr) break;
      }
    }
    EXPECT_TRUE(eventually_on_fiber([&] { return open_descriptors() == before; }))
        << open_descriptors() << " against " << before;
    std::printf("accepted %d, cancelled %d\n", accepted, dropped);
  });
}

TEST_P(cancel_test, a_connect_that_waits_for_a_place_costs_little_and_can_be_cancelled) {
  on_fiber([] {
    const auto listener = unix_listener::bind(
        endpoint::parse("unix:@coir-cancel-test-" + std::to_string(::getpid())), {.backlog = 0});
    const endpoint at = listener.local();
    const auto waits = unix_stream::connect(at);
    for (const auto later : {0us, 0us, 1us, 10us, 100us, 1000us, 10'000us}) {
      auto connecting = spawn([&] { (void)unix_stream::connect(at); });
      await_parked(connecting);
      if (later != 0us) this_fiber::sleep_for(later);
      connecting.cancel();
      EXPECT_TRUE(connecting.wait_for(sanitized ? 20s : 5s)) << "cancelled after " << later.count();
      if (!connecting.done()) ::close(::accept(listener.native_handle(), nullptr, nullptr));
      EXPECT_THROW(connecting.get(), cancelled);
    }
    const auto before = processor_time();
    auto connecting = spawn([&] { (void)unix_stream::connect(at); });
    this_fiber::sleep_for(300ms);
    EXPECT_LT(processor_time() - before, sanitized ? 150ms : 60ms) << "it tries without a pause";
    ::close(::accept(listener.native_handle(), nullptr, nullptr));
    EXPECT_TRUE(connecting.wait_for(sanitized ? 20s : 5s));
    connecting.get();
  });
}

TEST_P(cancel_test, close_ends_a_parked_reader_and_the_peer_sees_the_end) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto reader = spawn([&a = a] {
      char buffer[8];
      return error_of([&] { (void)a.read_some(buffer); });
    });
    await_parked(reader);
    a.close();
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
    char buffer[8];
    EXPECT_EQ(b.read_some(buffer), 0U);
  });
}

TEST_P(cancel_test, close_ends_parked_accepts_and_writes) {
  on_fiber([] {
    auto listener = tcp_listener::bind(any_port);
    auto accepting = spawn([&] { return error_of([&] { listener.accept(); }); });
    await_parked(accepting);
    listener.close();
    EXPECT_EQ(accepting.get(), std::errc::operation_canceled);

    auto [a, b] = tcp_pair();
    auto writer = spawn([&a = a] {
      const std::vector<char> much(10'000'000);
      return error_of([&] { a.write(std::string_view(much.data(), much.size())); });
    });
    await_parked(writer);
    a.close();
    EXPECT_EQ(writer.get(), std::errc::operation_canceled);
  });
}

TEST_P(cancel_test, a_plain_thread_may_close_what_a_fiber_reads) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto reader = spawn([&a = a] {
      char buffer[8];
      return error_of([&] { (void)a.read_some(buffer); });
    });
    await_parked(reader);
    std::thread closer([&a = a] { a.close(); });
    EXPECT_EQ(reader.get(), std::errc::operation_canceled);
    closer.join();
  });
}

// A read that a lone worker has prepared and not submitted names its descriptor by number. When
// close has returned, that number is the next socket's.
TEST_P(cancel_test, what_is_still_to_be_submitted_never_meets_the_next_socket_of_its_number) {
  on_fiber([] {
    for (int round = 0; round < 20; ++round) {
      auto [a, b] = unix_stream::pair();
      const int number = a.native_handle();
      char into[1] = {};
      auto reader = spawn([&a = a, &into] { return error_of([&] { (void)a.read_some(into); }); });
      while (reader.state() != task_state::parked) this_fiber::yield();
      a.close();
      auto [c, d] = unix_stream::pair();
      if (GetParam().workers == 1) {
        EXPECT_EQ(c.native_handle(), number);
      }
      EXPECT_EQ(::send(d.native_handle(), "z", 1, 0), 1);
      EXPECT_EQ(reader.get(), std::errc::operation_canceled);
      ASSERT_EQ(into[0], '\0') << "it has read another socket";
      char got[1];
      c.set_read_deadline(clock::now() + 5s);
      std::error_code error;
      EXPECT_EQ(c.read_some(got, error), 1U) << error.message();
    }
  });
}

// F51: descriptor numbers are used again at once, so a late completion, or a close that gives the
// number back too early, would show another pair's tag.
TEST_P(cancel_test, a_storm_of_closes_under_readers_never_mixes_streams) {
  on_fiber([] {
    std::atomic<unsigned> wrong{0}, closed{0}, read{0};
    const auto storm = [&](unsigned tag) {
      std::mt19937 random(tag);
      for (int i = 0; i < rounds(250); ++i) {
        auto [a, b] = unix_stream::pair();
        const unsigned mark = tag << 20 | static_cast<unsigned>(i);
        auto reader = spawn([&, &a = a] {
          unsigned got = 0;
          std::error_code error;
          a.read_exactly(std::as_writable_bytes(std::span(&got, 1)), error);
          if (!error)
            ++read, wrong += got != mark;
          else
            ++closed, wrong += error != std::errc::operation_canceled &&
                               error != std::errc::bad_file_descriptor;
        });
        for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
        std::error_code ignored;
        if (random() % 2) b.write(std::as_bytes(std::span(&mark, 1)), ignored);
        if (random() % 2) this_fiber::yield();
        a.close();
        reader.get();
      }
    };
    std::vector<task<void>> storms;
    for (unsigned t = 1; t <= 8; ++t) storms.push_back(spawn(storm, t));
    for (auto& s : storms) s.get();
    EXPECT_EQ(wrong.load(), 0U);
    std::printf("read %u, closed %u\n", read.load(), closed.load());
    EXPECT_GT(closed.load() * 100, read.load() + closed.load());
    EXPECT_GT(read.load() * 100, read.load() + closed.load());
  });
}

// F46
TEST_P(cancel_test, cancellation_races_with_completion_and_loses_no_byte) {
  on_fiber([] {
    std::atomic<unsigned> values{0}, cancellations{0};
    const auto race = [&](unsigned seed) {
      std::mt19937 random(seed);
      auto [a, b] = unix_stream::pair();
      std::uint64_t sent = 0, got = 0;
      for (int i = 0; i < rounds(500); ++i) {
        auto buffer =
            std::make_unique<char[]>(4);  // freed at once: a late write is the sanitizer's find
        auto reader = spawn([&, &a = a] { return a.read_some(std::span<char>(buffer.get(), 4)); });
        for (unsigned n = random() % 3; n != 0; --n) this_fiber::yield();
        const bool write = random() % 2;
        if (write) b.write("x"), ++sent;
        for (unsigned n = random() % 2; n != 0; --n) this_fiber::yield();
        reader.cancel();
        try {
          got += reader.get();
          ++values;
        } catch (const cancelled&) {
          ++cancellations;
        }
      }
      b.close();
      char rest[4096];
      while (const std::size_t n = a.read_some(rest)) got += n;
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

}  // namespace
}  // namespace coir::testing
