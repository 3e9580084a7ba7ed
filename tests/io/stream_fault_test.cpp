// Streams whose peers vanish, whose writes are cut short, and that are asked for odd amounts.
#include <random>

#include <sys/socket.h>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

class stream_fault_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, stream_fault_test, every_rung(), rung_name);

void reset(tcp_stream s) {
  const linger at_once{1, 0};
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}
template <class S>
void set_send_buffer(const S& s, int bytes) {
  ::setsockopt(s.native_handle(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}
std::string pattern(std::size_t size) {
  std::string v(size, '\0');
  for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<char>(i * 31 + (i >> 8) * 7);
  return v;
}
using parts = std::vector<std::span<const std::byte>>;
parts in_parts(std::string_view all, std::size_t each) {
  parts v;
  for (; !all.empty(); all.remove_prefix(std::min(each, all.size())))
    v.push_back(std::as_bytes(std::span(all.substr(0, each))));
  return v;
}

// --- F59: resets ---

TEST_P(stream_fault_test, a_reset_before_accept_spoils_no_other_connection) {
  on_fiber([] {
    auto l = tcp_listener::bind(any_port);
    for (int i = 0; i < 5; ++i) reset(tcp_stream::connect(l.local()));
    auto good = tcp_stream::connect(l.local());
    good.write("x");
    for (int accepted = 0;; ++accepted) {
      ASSERT_LT(accepted, 6);
      auto peer = l.accept();
      char c[1];
      std::error_code error;
      if (peer.read_some(c, error) == 1) break;
      EXPECT_EQ(error, std::errc::connection_reset);
    }
  });
}

TEST_P(stream_fault_test, a_reset_in_the_middle_of_a_read_leaves_the_count_exact) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    char into[8];
    auto reading = spawn([&, &a = a] {
      std::error_code error;
      const std::size_t n = a.read_exactly(into, error);
      return std::pair(n, error);
    });
    b.write("12345");
    EXPECT_TRUE(eventually_on_fiber([&, &a = a] { return a.bytes_read() == 5; }));
    reset(std::move(b));
    const auto [n, error] = reading.get();
    EXPECT_EQ(n, 5U);
    EXPECT_EQ(error, std::errc::connection_reset);
    EXPECT_EQ(std::string_view(into, 5), "12345");
  });
}

// Nothing raises SIGPIPE, which would end this process.
TEST_P(stream_fault_test, writes_after_a_reset_are_errors_again_and_again) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    reset(std::move(b));
    const std::string text = "text";
    const parts two = in_parts(text, 2);
    const auto writes = [&](auto& s) {
      return std::vector<std::error_code>{
          error_of([&] { s.write(text); }), error_of([&] { s.write(two); }),
          error_of([&] { (void)s.write_some(text); }), error_of([&] { s.write(two); })};
    };
    char c[1];
    EXPECT_EQ(error_of([&, &a = a] { (void)a.read_some(c); }), std::errc::connection_reset);
    for (const auto& e : writes(a)) EXPECT_EQ(e, std::errc::broken_pipe);
    EXPECT_EQ(a.bytes_written(), 0U);
    auto [left, right] = unix_stream::pair();
    right.close();
    for (const auto& e : writes(left)) EXPECT_EQ(e, std::errc::broken_pipe);
  });
}

TEST_P(stream_fault_test, a_reset_ends_a_parked_gather_write) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    set_send_buffer(a, 4096);
    const std::string much = pattern(10'000'000);
    auto writing = spawn([&, &a = a] { return error_of([&] { a.write(in_parts(much, 1000)); }); });
    await_parked(writing);
    reset(std::move(b));
    const auto e = writing.get();
    EXPECT_TRUE(e == std::errc::connection_reset || e == std::errc::broken_pipe) << e.message();
  });
}

// --- F60: half close ---

TEST_P(stream_fault_test, what_had_arrived_can_be_read_after_both_have_ended) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    const std::string text = pattern(20'000);
    a.write(text);
    a.shutdown_write();
    b.write(text);
    b.shutdown_write();
    EXPECT_EQ(error_of([&a = a] { a.write("x"); }), std::errc::broken_pipe);
    EXPECT_TRUE(reader(a).read_all() == text);
    EXPECT_TRUE(reader(b).read_all() == text);
  });
}

TEST_P(stream_fault_test, shutting_down_ends_no_parked_reader) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto reading = spawn([&a = a] { return reader(a).read_all(); });
    await_parked(reading);
    a.shutdown_write();
    EXPECT_EQ(reader(b).read_all(), "");
    b.write("late");
    b.close();
    EXPECT_EQ(reading.get(), "late");
  });
}

// --- F61: writes that are cut short ---

template <class Pair>
void pass_through_a_small_buffer(Pair two, int chunks) {
  auto& [a, b] = two;
  set_send_buffer(a, 4096);
  const std::string chunk = pattern(500'000);
  auto writing = spawn([&, &a = a] {
    for (int i = 0; i < chunks; ++i) a.write(chunk);
  });
  std::string got(chunk.size(), '\0');
  for (int i = 0; i < chunks; ++i) {
    b.read_exactly(got);
    ASSERT_TRUE(got == chunk);
  }
  writing.get();
  EXPECT_EQ(a.bytes_written(), chunk.size() * static_cast<std::size_t>(chunks));
}

TEST_P(stream_fault_test, much_passes_exactly_through_a_small_send_buffer) {
  on_fiber([] {
    pass_through_a_small_buffer(tcp_pair(), 1);
    pass_through_a_small_buffer(unix_stream::pair(), GetParam().workers == 2 ? rounds(100) : 4);
  });
}

// Whoever goes on behind bytes_written() sends each byte once, however often he is stopped, and by
// whatever.
template <class Pair>
void stop_and_go_on(Pair two, unsigned seed) {
  auto& [a, b] = two;
  set_send_buffer(a, 4096);
  const std::string all = pattern(sanitized ? 200'000 : 1'000'000);
  event go;
  auto reading = spawn([&, &b = b] {
    go.wait();
    std::string got(all.size(), '\0');
    b.read_exactly(got);
    return got == all;
  });
  std::mt19937 random(seed);
  unsigned stopped = 0, finished = 0;
  while (a.bytes_written() != all.size()) {
    const auto before = a.bytes_written();
    const std::string_view rest = std::string_view(all).substr(before, random() % 20'000 + 1);
    std::size_t told = 0;
    std::error_code error;
    auto writing = spawn([&, &a = a, form = random() % 3] {
      switch (form) {
        case 0:
          told = a.write(rest, error);
          break;
        case 1:
          told = a.write(in_parts(rest, 700), error);
          break;
        default:
          told = a.write_some(rest, error);
      }
      return true;
    });
    // Nobody reads until some have been stopped for certain; then it is a race.
    if (stopped < 10)
      EXPECT_TRUE(eventually_on_fiber([&] { return writing.state() != task_state::ready; }));
    else
      go.set();
    for (unsigned n = random() % 4; n != 0; --n) this_fiber::yield();
    const unsigned how = random() % (stopped < 10 ? 2 : 4);
    if (how == 0) writing.cancel();
    if (how == 1) a.set_write_deadline(clock::now());
    writing.wait();
    a.set_write_deadline(clock::time_point::max());
    if (writing.cancelled()) {
      ++stopped;
      continue;
    }
    ASSERT_EQ(a.bytes_written() - before, told);
    ASSERT_TRUE(!error || error == std::errc::timed_out) << error.message();
    error ? ++stopped : ++finished;
  }
  go.set();
  EXPECT_TRUE(reading.get());
  std::printf("stopped %u, finished %u\n", stopped, finished);
  EXPECT_GT(stopped * 100, stopped + finished);
  EXPECT_GT(finished * 100, stopped + finished);
}

TEST_P(stream_fault_test, writes_that_are_stopped_tell_exactly_how_much_went_out) {
  on_fiber([] {
    stop_and_go_on(tcp_pair(), 1);
    stop_and_go_on(unix_stream::pair(), 2);
  });
}

// --- F62: odd amounts ---

TEST_P(stream_fault_test, more_buffers_than_the_kernel_takes_at_once_are_gathered) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    const std::string all = pattern(5000);
    parts many = in_parts(all, 1);  // IOV_MAX is 1024
    for (std::size_t i = 0; i < many.size(); i += 100)
      many.insert(many.begin() + static_cast<long>(i), {std::span<const std::byte>()});
    auto writing = spawn([&, &a = a] { a.write(many); });
    std::string got(all.size(), '\0');
    b.read_exactly(got);
    writing.get();
    EXPECT_TRUE(got == all);
    const parts nothing(3000);
    a.write(nothing);
    EXPECT_EQ(a.bytes_written(), all.size());
  });
}

TEST_P(stream_fault_test, no_bytes_are_asked_for_and_none_move_even_at_the_end) {
  on_fiber([] {
    auto [a, b] = unix_stream::pair();
    b.close();
    const std::span<std::byte> none;
    std::error_code error = std::make_error_code(std::errc::io_error);
    EXPECT_EQ(a.read_some(none, error), 0U);
    EXPECT_FALSE(error);
    EXPECT_EQ(a.read_exactly(none, error), 0U);
    EXPECT_FALSE(error) << "an end that is not asked for is no error";
    EXPECT_EQ(a.write(std::span<const std::byte>(), error), 0U);
    EXPECT_FALSE(error);
  });
}

}  // namespace
}  // namespace coir::testing
