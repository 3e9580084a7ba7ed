// The drivers themselves, on a scheduler that is not ours: wakes, full queues, numbers of the dead.
#include <atomic>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

#include "io/driver_factory.hpp"
#include "io/epoll_reactor.hpp"
#include "io/uring_reactor.hpp"
#include "io_fixture.hpp"
#include "tests/support/guest_host.hpp"

namespace coir::testing {
namespace {

enum class kind { uring, uring_eventfd, epoll };

std::unique_ptr<reactor> make(kind k, io::ring_sizes sizes = {}) {
  if (k == kind::epoll) return std::make_unique<io::epoll_reactor>(std::uint64_t{1} << 40);
  io::uring_options o;
  o.kernel = io::probe_uring();
  o.sizes = sizes;
  if (k == kind::uring_eventfd) {
    o.kernel.message_by_register = false;
    o.kernel.absolute_timeout = false;
    o.kernel.setup_flags = 0;
  }
  return std::make_unique<io::uring_reactor>(o);
}

std::vector<kind> kinds() {
  if (uring_is_denied()) return {kind::epoll};
  return {kind::uring, kind::uring_eventfd, kind::epoll};
}
std::string kind_name(const ::testing::TestParamInfo<kind>& of) {
  constexpr const char* names[] = {"uring", "uring_eventfd", "epoll"};
  return names[static_cast<int>(of.param)];
}

class driver_test : public ::testing::TestWithParam<kind> {};
INSTANTIATE_TEST_SUITE_P(drivers, driver_test, ::testing::ValuesIn(kinds()), kind_name);

TEST_P(driver_test, an_interrupt_is_never_lost) {
  auto d = make(GetParam());
  std::atomic<int> asked{0}, answered{0};
  const int rounds_to_go = rounds(100'000);
  std::thread sleeper([&] {
    d->attach();
    for (int i = 1; i <= rounds_to_go; ++i) {
      sched::ready_list none;
      while (asked.load() < i) {
        if (i % 3 == 0) d->poll(none);  // which may see the message that the wait must not miss
        const auto start = clock::now();
        d->wait(start + 20s, none);
        if (clock::now() - start > 10s) ADD_FAILURE() << "lost in round " << i;
      }
      answered = i;
    }
    d->detach();
  });
  for (int i = 1; i <= rounds_to_go; ++i) {
    asked = i;
    d->interrupt();
    if (i % 7 == 0) d->interrupt();
    while (answered.load() < i) std::this_thread::yield();
  }
  sleeper.join();
}

TEST_P(driver_test, a_wait_ends_at_its_deadline_and_not_before) {
  auto d = make(GetParam());
  std::thread([&] {
    d->attach();
    sched::ready_list none;
    for (const auto length : {0us, 1us, 300us, 1500us, 20'000us}) {
      const auto start = clock::now();
      int turns = 0;
      while (clock::now() < start + length) d->wait(start + length, none), ++turns;
      EXPECT_LE(turns, 2) << "a loop instead of a sleep, for " << length.count();
      d->wait(start - 1s, none);
    }
    d->detach();
  }).join();
}

TEST_P(driver_test, a_guest_scheduler_runs_our_io) {
  test::guest_host host(make(GetParam()));
  int echoed = 0;
  host.spawn([&] {
    auto listener = tcp_listener::bind(any_port);
    for (int c = 0; c < 10; ++c)
      host.spawn([&, at = listener.local()] {
        auto s = tcp_stream::connect(at);
        char buffer[4];
        for (int i = 0; i < 100; ++i) {
          s.write("ping");
          s.read_exactly(buffer);
          ++echoed;
        }
        std::error_code error;
        s.set_read_deadline(clock::now() + 5ms);
        EXPECT_EQ(s.read_some(buffer, error), 0U);
        EXPECT_EQ(error, std::errc::timed_out);
      });
    for (int c = 0; c < 10; ++c)
      host.spawn([&, s = std::make_shared<tcp_stream>(listener.accept())] {
        char buffer[64];
        while (const std::size_t n = s->read_some(buffer)) s->write(std::string_view(buffer, n));
      });
  });
  host.run();
  EXPECT_EQ(echoed, 1000);
}

TEST_P(driver_test, close_ends_a_parked_reader_of_a_guest) {
  test::guest_host host(make(GetParam()));
  host.spawn([&] {
    auto ends = std::make_shared<std::pair<unix_stream, unix_stream>>(unix_stream::pair());
    auto done = std::make_shared<bool>(false);
    host.spawn([=] {
      char buffer[8];
      std::error_code error;
      ends->first.read_some(buffer, error);
      EXPECT_EQ(error, std::errc::operation_canceled);
      *done = true;
    });
    for (int i = 0; i < 3; ++i) sched::current_host().yield();
    EXPECT_FALSE(*done);
    ends->first.close();
    EXPECT_TRUE(*done);
  });
  host.run();
}

class ring_test : public ::testing::Test {
  void SetUp() override {
    if (uring_is_denied()) GTEST_SKIP() << "io_uring is refused";
  }
};

// F43: every fiber has an operation in flight, far more than either queue holds.
TEST_F(ring_test, full_queues_delay_and_lose_nothing) {
  auto made = make(kind::uring, {.submissions = 4, .completions = 8});
  auto& driver = static_cast<io::uring_reactor&>(*made);
  test::guest_host host(std::move(made));
  constexpr int fibers = 500;
  const int turns = rounds(20);
  int done = 0;
  io::uring_reactor::counters seen;
  host.spawn([&] {
    for (int f = 0; f < fibers; ++f)
      host.spawn([&] {
        auto [a, b] = unix_stream::pair();
        char buffer[1];
        for (int i = 0; i < turns; ++i) {
          a.write("x");
          EXPECT_EQ(b.read_some(buffer), 1U);
        }
        if (++done == fibers) seen = driver.counts();
      });
  });
  host.run();
  EXPECT_EQ(done, fibers);
  EXPECT_GT(seen.full_submissions, 0U);
  EXPECT_EQ(seen.dead_completions, 0U);
  std::printf("full %lu, overflows %lu, enters %lu\n", seen.full_submissions, seen.overflows,
              seen.enters);
}

// F44: ten thousand operations complete while nobody looks, in a ring with room for eight.
TEST_F(ring_test, completions_that_find_no_room_are_fetched_later) {
  auto made = make(kind::uring, {.submissions = 4, .completions = 8});
  auto& driver = static_cast<io::uring_reactor&>(*made);
  test::guest_host host(std::move(made));
  const int waiting = rounds(10'000);
  const int event = ::eventfd(0, EFD_CLOEXEC);
  int woken = 0;
  std::uint64_t overflows = 0;
  host.spawn([&] {
    for (int f = 0; f < waiting; ++f)
      host.spawn([&] {
        wait_readable(event);
        if (++woken == waiting) overflows = driver.counts().overflows;
      });
    host.spawn([&] {
      for (int i = 0; i < 3; ++i) sched::current_host().yield();
      const std::uint64_t one = 1;
      EXPECT_EQ(::write(event, &one, sizeof one), 8);
    });
  });
  host.run();
  ::close(event);
  EXPECT_EQ(woken, waiting);
  EXPECT_GT(overflows, 0U);
  std::printf("overflows %lu\n", overflows);
}

// F45
TEST_F(ring_test, completions_of_the_dead_are_counted_and_ignored) {
  auto made = make(kind::uring);
  auto& driver = static_cast<io::uring_reactor&>(*made);
  test::guest_host host(std::move(made));
  host.spawn([&] {
    auto [a, b] = unix_stream::pair();
    char buffer[1];
    a.write("x");
    EXPECT_EQ(b.read_some(buffer), 1U);
    // Never given out; given out and over (index 0, generation 0); the index of nobody.
    for (const std::uint64_t number :
         {std::uint64_t{77} << 32, std::uint64_t{0}, std::uint64_t{123'456}})
      EXPECT_EQ(io::ring::send_message(driver.ring_for_tests().descriptor(), number), 0);
    a.write("y");
    EXPECT_EQ(b.read_some(buffer), 1U);
    for (int i = 0; i < 3; ++i) sched::current_host().yield();
    wait_writable(a.native_handle());
    EXPECT_EQ(driver.counts().dead_completions, 3U);
  });
  host.run();
}

TEST_F(ring_test, numbers_of_operations_are_not_used_again) {
  io::operation_table<int> table;
  ASSERT_TRUE(table.reserve_one());
  const std::uint64_t first = table.insert(1);
  EXPECT_EQ(*table.find(first), 1);
  table.erase(first);
  EXPECT_EQ(table.find(first), nullptr);
  const std::uint64_t second = table.insert(2);
  EXPECT_NE(first, second);
  EXPECT_EQ(table.find(first), nullptr);
  EXPECT_EQ(*table.find(second), 2);
  EXPECT_EQ(table.size(), 1U);
}

}  // namespace
}  // namespace coir::testing
