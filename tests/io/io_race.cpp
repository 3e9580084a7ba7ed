// I/O calls against their completion, cancellation and close: one side wins, and no byte,
// connection, descriptor or fiber is lost; what the kernel was given is left alone after the call
// (F46, F47, F51).
#include <cerrno>
#include <cstring>
#include <tuple>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coir/io/acceptor.hpp>

#include "io/addresses.hpp"
#include "io_fixture.hpp"
#include "tests/support/racing.hpp"

namespace coir::testing {
namespace {

// On the stack of who calls: what the kernel fills, and is spoilt once the call has returned.
class buffer {
 public:
  std::span<std::byte> bytes() noexcept { return bytes_; }
  void spoil() noexcept { bytes_.fill(poison); }
  bool is_spoilt() const {
    return std::all_of(bytes_.begin(), bytes_.end(), [](std::byte b) { return b == poison; });
  }

 private:
  static constexpr std::byte poison{0xee};
  std::array<std::byte, 64> bytes_{};
};

class io_race : public ::testing::TestWithParam<rung> {
 protected:
  // As the first fiber of a runtime of this rung; nothing may be left afterwards.
  template <class Body>
  void on_fiber(Body&& body) {
    const std::size_t before = open_descriptors();
    {
      options o;
      o.workers = GetParam().workers;
      o.reactor = GetParam().kind;
      runtime r(o);
      {
        const watchdog guard(r, progress);
        r.block_on(body);
      }
      EXPECT_TRUE(eventually([&] { return r.metrics().fibers_alive == 0; })) << "a fiber is left";
    }
    EXPECT_EQ(open_descriptors(), before) << "a descriptor is left";
  }

  // A victim's call against its completion and its cancellation, again and again, in several cells
  // at once. A cell has: offer(into), the victim's blocking call; serve(), which lets it complete;
  // settle(stopped), when both have struck and the victim has its answer.
  template <class Cell>
  void race(const char* what) {
    std::atomic<std::uint64_t> served{0}, stopped{0};
    const auto start = std::chrono::steady_clock::now();
    // Where the processors are busy with something else: until both have had their share.
    const auto goes_on = [&] {
      const auto spent = std::chrono::steady_clock::now() - start;
      const auto budget = stress_time(250ms);
      const std::uint64_t least = std::min(served.load(), stopped.load());
      return spent < budget || (spent < 10 * budget && least * 50 < served + stopped + 1000);
    };
    on_fiber([&] {
      std::vector<task<void>> all;
      for (std::uint32_t i = 0; i < 16; ++i)
        all.push_back(spawn([&, i] {
          Cell cell(i);
          dice random(i);
          while (goes_on()) {
            ++(round(cell, random) ? stopped : served);
            progress.fetch_add(1, std::memory_order_relaxed);
          }
        }));
      for (auto& t : all) t.get();
    });
    expect_both_win(what, served, stopped, "completion");
  }

  std::atomic<std::uint64_t> progress{0};

 private:
  // Nothing, a moment, a turn of the others, or until the worker has had nothing else to do and has
  // looked at its reactor: what is started is submitted by then, and what has completed is known.
  static void pause(dice& random) {
    switch (random(4)) {
      case 0:
        return random.spin(2000);
      case 1:
        return this_fiber::yield();
      case 2:
        return this_fiber::sleep_for(std::chrono::microseconds(1 + random(4)));
      default:
        return;
    }
  }

  // Whether cancellation won.
  template <class Cell>
  static bool round(Cell& cell, dice& random) {
    bool stopped = false;
    event begun, answered, settled;
    auto victim = spawn([&] {
      buffer into;
      begun.set();
      try {
        cell.offer(into);
      } catch (const cancelled&) {
        stopped = true;
      }
      into.spoil();
      answered.set();
      shield([&] { settled.wait(); });
      EXPECT_TRUE(into.is_spoilt()) << "the kernel wrote into what it had given back";
    });
    begun.wait();  // a task that has not begun would not run at all
    const auto strike = [&](bool serves) {
      if (serves)
        cell.serve();
      else
        victim.cancel();
    };
    pause(random);
    const bool serves_first = random(2) != 0;
    strike(serves_first);
    pause(random);
    strike(!serves_first);
    answered.wait();
    cell.settle(stopped);
    settled.set();
    victim.wait();
    return stopped;
  }
};

std::vector<rung> race_rungs() {
  std::vector<rung> all = rungs({2, 4});
  // With and without multishot are the same but for what accepts ahead.
  std::erase_if(all, [](const rung& r) { return r.kind == reactor_kind::uring_oneshot; });
  return all;
}
INSTANTIATE_TEST_SUITE_P(rungs, io_race, ::testing::ValuesIn(race_rungs()), rung_name);

// What has come and not been read. Never waits.
std::size_t drain(int fd) {
  char rest[64 * 1024];
  std::size_t all = 0;
  for (ssize_t n; (n = ::recv(fd, rest, sizeof rest, MSG_DONTWAIT)) > 0;)
    all += static_cast<std::size_t>(n);
  return all;
}

struct connected_cell {
  explicit connected_cell(std::uint32_t) { std::tie(mine, peers) = unix_stream::pair(); }
  unix_stream mine, peers;
};

struct receiving : connected_cell {
  using connected_cell::connected_cell;
  std::size_t got = 0;
  void offer(buffer& into) { got = mine.read_some(into.bytes()); }
  void serve() { ASSERT_EQ(::send(peers.native_handle(), "ab", 2, 0), 2); }
  void settle(bool stopped) {
    EXPECT_EQ(got != 0, !stopped);
    EXPECT_EQ(std::exchange(got, 0) + drain(mine.native_handle()), 2U) << "lost or made";
  }
};
TEST_P(io_race, a_receive) { race<receiving>("receive"); }

// The first of two bytes comes, and then the race for the second.
struct reading_exactly : connected_cell {
  using connected_cell::connected_cell;
  std::uint64_t before = 0;
  void offer(buffer& into) {
    before = mine.bytes_read();
    ASSERT_EQ(::send(peers.native_handle(), "a", 1, 0), 1);
    mine.read_exactly(into.bytes().first(2));
  }
  void serve() { ASSERT_EQ(::send(peers.native_handle(), "b", 1, 0), 1); }
  void settle(bool stopped) {
    const std::uint64_t got = mine.bytes_read() - before;
    EXPECT_EQ(got == 2, !stopped);
    EXPECT_EQ(got + drain(mine.native_handle()), 2U) << "lost or made";
  }
};
TEST_P(io_race, a_read_that_goes_on) { race<reading_exactly>("read_exactly"); }

// Each round begins with a socket that takes nothing more, and its peer makes room.
struct full_cell : connected_cell {
  explicit full_cell(std::uint32_t n) : connected_cell(n) {
    const int small = 4096;
    ::setsockopt(mine.native_handle(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    fill();
  }
  void fill() {
    static constexpr char much[16 * 1024] = {};
    for (ssize_t n; (n = ::send(mine.native_handle(), much, sizeof much, MSG_DONTWAIT)) > 0;)
      inside += static_cast<std::uint64_t>(n);
  }
  void serve() { outside += drain(peers.native_handle()); }
  void settle(bool) {
    serve();
    EXPECT_EQ(outside, inside + mine.bytes_written()) << "lost or made";
    fill();
  }
  std::uint64_t inside = 0, outside = 0;  // sent around the stream, received
};
struct sending : full_cell {
  using full_cell::full_cell;
  void offer(buffer&) { mine.write_some(std::string_view("12345678")); }
};
struct gathering : full_cell {
  using full_cell::full_cell;
  void offer(buffer&) {
    const std::span<const std::byte> word = std::as_bytes(std::span("word"));
    mine.write(std::array{word, word.first(0), word});
  }
};
TEST_P(io_race, a_send) { race<sending>("send"); }
TEST_P(io_race, a_gather_send) { race<gathering>("gather send"); }

int dial(const endpoint& at) {
  const auto* address = static_cast<const sockaddr*>(at.native());
  const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int result = ::connect(fd, address, static_cast<socklen_t>(at.native_size()));
  EXPECT_TRUE(result == 0 || errno == EINPROGRESS) << std::strerror(errno);
  return fd;
}

struct accepting {
  explicit accepting(std::uint32_t n)
      : listener(unix_listener::bind(endpoint::parse(
            "unix:@coir-io-race-" + std::to_string(::getpid()) + "-" + std::to_string(n)))) {}
  unix_listener listener;
  unix_stream accepted;
  int client = -1;
  void offer(buffer&) { accepted = listener.accept(); }
  void serve() { client = dial(listener.local()); }
  void settle(bool stopped) {
    EXPECT_EQ(accepted.is_open(), !stopped);
    const int rest = ::accept(listener.native_handle(), nullptr, nullptr);
    EXPECT_EQ(rest >= 0, stopped) << "a connection was lost or made";
    if (rest >= 0) ::close(rest);
    accepted.close();
    ::close(client);
  }
};
TEST_P(io_race, an_accept) { race<accepting>("accept"); }

// As a server accepts: where the kernel can, it accepts ahead, until the acceptor goes; what nobody
// took is closed.
struct accepting_ahead {
  explicit accepting_ahead(std::uint32_t) { renew(); }
  void renew() {
    std::error_code error;
    listener = io::listen(any_port, io::transport::tcp, {}, error);
    at = io::local_address(listener.native(), error);
    const linger reset{1, 0};  // inherited: no port waits for late packets
    ::setsockopt(listener.native(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  io::handle listener;
  endpoint at;
  int client = -1;
  bool accepted = false;
  void offer(buffer&) {
    std::error_code error;
    io::acceptor from(listener, true, error);
    accepted = from.next(error).is_open();
    EXPECT_FALSE(error) << error.message();
  }
  void serve() { client = dial(at); }
  void settle(bool stopped) {
    EXPECT_EQ(std::exchange(accepted, false), !stopped);
    ::close(client);
    renew();
  }
};
TEST_P(io_race, an_accept_of_what_may_have_been_accepted_ahead) {
  race<accepting_ahead>("accept ahead");
}

struct waiting_for_readiness {
  explicit waiting_for_readiness(std::uint32_t) : fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~waiting_for_readiness() { ::close(fd); }
  int fd;
  void offer(buffer&) { wait_readable(fd); }
  void serve() {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(fd, &one, sizeof one), 8);
  }
  void settle(bool) {
    std::uint64_t rung = 0;
    EXPECT_EQ(::read(fd, &rung, sizeof rung), 8);
    EXPECT_EQ(rung, 1U);
  }
};
TEST_P(io_race, a_wait_for_readiness) { race<waiting_for_readiness>("wait_readable"); }

// F51. Numbers are used again at once: a late completion, or a close that gives the number back too
// early, would show the mark of another pair.
TEST_P(io_race, a_storm_of_closes_under_readers) {
  std::atomic<std::uint64_t> wrong{0}, closed{0}, read{0};
  const auto until = std::chrono::steady_clock::now() + stress_time(250ms);
  const auto storm = [&](std::uint32_t tag) {
    dice random(tag);
    for (std::uint32_t i = 0; std::chrono::steady_clock::now() < until; ++i) {
      auto [a, b] = unix_stream::pair();
      const std::uint64_t mark = std::uint64_t{tag} << 32 | i;
      auto reader = spawn([&, &mine = a] {
        std::uint64_t got = 0;
        std::error_code error;
        mine.read_exactly(std::as_writable_bytes(std::span(&got, 1)), error);
        if (!error)
          ++read, wrong += got != mark;
        else
          ++closed, wrong += error != std::errc::operation_canceled &&
                             error != std::errc::bad_file_descriptor;
      });
      for (std::uint32_t n = random(3); n != 0; --n) this_fiber::yield();
      std::error_code ignored;
      if (random(2) != 0) b.write(std::as_bytes(std::span(&mark, 1)), ignored);
      if (random(2) != 0) this_fiber::yield();
      a.close();
      char c[1];
      EXPECT_EQ(b.read_some(c, ignored), 0U) << "the peer does not see the end";
      reader.get();
      progress.fetch_add(1, std::memory_order_relaxed);
    }
  };
  on_fiber([&] {
    std::vector<task<void>> storms;
    for (std::uint32_t t = 1; t <= 8; ++t) storms.push_back(spawn(storm, t));
    for (auto& s : storms) s.get();
  });
  EXPECT_EQ(wrong.load(), 0U);
  expect_both_win("close", read, closed, "the peer's bytes", "close");
}

}  // namespace
}  // namespace coir::testing
