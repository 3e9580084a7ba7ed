// Writes from the caller's memory: whose it is when, and what becomes of what the kernel would
// rather copy.
#include <algorithm>
#include <random>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/driver_factory.hpp"
#include "tests/support/guest_host.hpp"
#include "zero_copy_fixture.hpp"

namespace coir::testing {
namespace {

class zero_copy_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, zero_copy_test, every_rung(), rung_name);

// --- the memory

TEST_P(zero_copy_test, a_write_returns_when_its_memory_is_the_callers_again) {
  on_fiber([] {
    stalled_write w(long_patience);
    this_fiber::sleep_for(5ms);  // for who returns too early
    EXPECT_EQ(w.writing.done(), !lends());
    EXPECT_TRUE(read(w.ends.second, taken_at_once) == w.sent);
    EXPECT_FALSE(w.writing.get());
    EXPECT_TRUE(w.text.find_first_not_of('!') == std::string::npos);
  });
}

TEST_P(zero_copy_test, bytes_arrive_whole_at_a_slow_reader_though_the_memory_is_used_again) {
  on_fiber([] {
    auto [a, b] = stalling_pair(400 * 1024);
    const std::size_t sizes[] = {1, 4095, 4096, 70'001, mib, mib + 1, 3 * mib + 77};
    auto writing = spawn([&, &a = a] {
      std::string text;
      for (const std::size_t size : sizes) {
        a.set_zero_copy(1);
        text = pattern(size, size);
        a.write(text);
        std::fill(text.begin(), text.end(), '!');
      }
      for (const std::size_t size : sizes) {
        a.set_zero_copy(1);
        text = pattern(size, size);
        for (std::size_t n = 0; n < size;) {
          const std::size_t more = a.write_some(std::string_view(text).substr(n));
          std::fill(text.begin() + static_cast<std::ptrdiff_t>(n),
                    text.begin() + static_cast<std::ptrdiff_t>(n + more), '!');
          n += more;
        }
      }
    });
    for (int form = 0; form < 2; ++form)
      for (const std::size_t size : sizes) {
        const std::string wanted = pattern(size, size);
        std::string got(size, '\0');
        for (std::size_t n = 0; n < size;) {
          const auto rest = std::span(got).subspan(n);
          n += b.read_some(rest.first(std::min<std::size_t>(rest.size(), 30'000)));
          this_fiber::yield();
        }
        EXPECT_TRUE(got == wanted) << size;
      }
    writing.get();
    EXPECT_EQ(runtime::current().metrics().zero_copy_sends != 0, lends());
  });
}

TEST_P(zero_copy_test, gathered_buffers_go_out_in_order) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.set_zero_copy(1);
    const std::string all = pattern(3 * mib);
    std::vector<std::span<const std::byte>> parts;
    std::minstd_rand random(7);
    for (std::string_view rest = all; !rest.empty();) {
      const std::size_t n = std::min<std::size_t>(random() % 40'000, rest.size());
      parts.push_back(std::as_bytes(std::span(rest.substr(0, n))));
      rest.remove_prefix(n);
    }
    auto reading = spawn([&, &b = b] { return read(b, all.size()); });
    a.write(parts);
    EXPECT_TRUE(reading.get() == all);
    EXPECT_EQ(a.bytes_written(), all.size());
  });
}

TEST_P(zero_copy_test, a_long_write_lends_part_after_part_before_it_waits) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.set_zero_copy(mib);
    const std::string all = pattern(4 * mib);
    auto reading = spawn([&, &b = b] { return read(b, all.size()); });
    a.write(all);
    EXPECT_TRUE(reading.get() == all);
    EXPECT_EQ(runtime::current().metrics().zero_copy_sends, lends() ? 4U : 0U);
  });
}

TEST_P(zero_copy_test, writes_below_the_size_are_plain) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    a.set_zero_copy(10'000);
    const std::string text = pattern(9'999);
    const auto half = std::as_bytes(std::span(std::string_view(text).substr(0, 4'000)));
    for (int i = 0; i < 3; ++i) {
      a.write(text);
      EXPECT_EQ(a.write_some(text), text.size());
      a.write(std::array{half, half});
      read(b, 2 * text.size() + 8'000);
    }
    a.set_zero_copy(SIZE_MAX);
    a.write(pattern(100'000));
    read(b, 100'000);
    EXPECT_EQ(runtime::current().metrics().zero_copy_sends, 0U);
    tcp_stream closed;
    closed.set_zero_copy(1);
    EXPECT_EQ(error_of([&] { closed.write(text); }), std::errc::bad_file_descriptor);
  });
}

TEST_P(zero_copy_test, writers_and_copies_send_without_a_copy) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    auto [c, d] = tcp_pair();
    a.set_zero_copy(1);
    c.set_zero_copy(1);
    const std::string all = pattern(300'000);
    auto passing = spawn([&, &b = b, &c = c] {
      copy(b, c);
      c.shutdown_write();
    });
    auto reading = spawn([&d = d] { return reader(d).read_all(); });
    writer w(a);
    w.write(all);
    w.flush();
    a.close();
    passing.get();
    EXPECT_TRUE(reading.get() == all);
    EXPECT_EQ(runtime::current().metrics().zero_copy_sends > 1, lends());
  });
}

// --- when the kernel would rather copy

TEST_P(zero_copy_test, a_stream_whose_sends_are_copied_after_all_writes_plainly_again) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    const std::string text = pattern(64 * kib);
    const auto pass = [&, &a = a, &b = b](int times) {
      for (int i = 0; i < times; ++i) {
        auto reading = spawn([&] { return read(b, text.size()); });
        a.write(text);
        EXPECT_TRUE(reading.get() == text);
      }
      return runtime::current().metrics();
    };
    a.set_zero_copy(1);
    const auto first = pass(20);
    if (first.zero_copy_copied == 0) GTEST_SKIP() << "the kernel does not say (Linux 6.2)";
    EXPECT_EQ(first.zero_copy_sends, 8U);
    EXPECT_EQ(first.zero_copy_copied, 8U);
    EXPECT_EQ(first.zero_copy_refused, 0U);
    a.set_zero_copy(1);
    EXPECT_EQ(pass(3).zero_copy_sends, 11U);
  });
}

TEST_P(zero_copy_test, a_socket_that_cannot_is_asked_once) {
  on_fiber([] {
    auto [left, right] = unix_stream::pair();
    auto odd = tcp_stream::adopt(left.release());
    odd.set_zero_copy(1);
    for (int i = 0; i < 3; ++i) {
      odd.write("ping");
      char got[4];
      right.read_exactly(got);
      EXPECT_EQ(std::string_view(got, 4), "ping");
    }
    const auto m = runtime::current().metrics();
    EXPECT_EQ(m.zero_copy_sends, 0U);
    EXPECT_EQ(m.zero_copy_refused, lends() ? 1U : 0U);
  });
}

// F56: the pages count against RLIMIT_MEMLOCK, unless the process may lock memory at will.
TEST(zero_copy_limits, without_lockable_memory_a_write_is_a_plain_one) {
  if (uring_is_denied()) GTEST_SKIP();
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit little{900'000, 900'000};  // the rings themselves count as well (Linux 6.13)
    ::setrlimit(RLIMIT_MEMLOCK, &little);
    if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    options o;
    o.workers = 1;
    runtime r(o);
    const bool fine = r.block_on([] {
      auto [a, b] = tcp_pair();
      a.set_zero_copy(1);
      const std::string text = pattern(mib);
      auto reading = spawn([&, &b = b] { return read(b, text.size()); });
      a.write(text);
      return reading.get() == text;
    });
    const auto m = r.metrics();
    std::printf("%s with little to lock: %llu sent, %llu refused\n", m.reactor.c_str(),
                static_cast<unsigned long long>(m.zero_copy_sends),
                static_cast<unsigned long long>(m.zero_copy_refused));
    std::fflush(stdout);
    const bool asked = m.reactor_reason.find("zero-copy send") != std::string::npos;
    ::_exit(fine && m.zero_copy_sends + m.zero_copy_refused == (asked ? 1 : 0) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// --- where the fiber is

// Notifications come to the ring that has sent, wherever the fiber is by then.
TEST_P(zero_copy_test, a_writer_that_moves_hears_of_all_of_its_parts) {
  on_fiber([] {
    constexpr int pairs = 6;
    std::vector<task<void>> all;
    for (int p = 0; p < pairs; ++p)
      all.push_back(spawn([p] {
        auto [a, b] = stalling_pair(400 * 1024);
        auto reading = spawn([&b = b, p] {
          for (std::size_t i = 0; i < 2; ++i) {
            const std::string wanted = pattern(mib + 1000 * i, i + static_cast<std::size_t>(p));
            if (read(b, wanted.size()) != wanted) ADD_FAILURE() << "pair " << p;
          }
        });
        for (std::size_t i = 0; i < 2; ++i) {
          std::string text = pattern(mib + 1000 * i, i + static_cast<std::size_t>(p));
          a.set_zero_copy(1);
          a.write(text);
          std::fill(text.begin(), text.end(), '!');
          this_fiber::yield();
        }
        reading.get();
      }));
    for (auto& t : all) t.get();
  });
}

TEST(zero_copy_guests, a_guest_scheduler_lends_its_fibers_memory) {
  options o;
  o.reactor = uring_is_denied() ? reactor_kind::epoll : reactor_kind::uring;
  auto drivers = io::make_driver_factory(o);
  drivers->prepare(1);
  test::guest_host host(drivers->make());
  bool wrote = false, read_all = false;
  host.spawn([&] {
    auto listener = std::make_shared<tcp_listener>(tcp_listener::bind(any_port));
    host.spawn([&, listener] {
      auto s = listener->accept();
      read_all = read(s, 2 * mib) == pattern(2 * mib);
    });
    host.spawn([&, at = listener->local()] {
      auto s = tcp_stream::connect(at);
      s.set_zero_copy(1);
      s.write(pattern(2 * mib));
      wrote = true;
    });
  });
  host.run();
  EXPECT_TRUE(wrote && read_all);
}

}  // namespace
}  // namespace coir::testing
