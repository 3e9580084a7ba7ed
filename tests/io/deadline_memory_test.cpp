// Deadlines of streams, set as often as requests come: by their own fiber between calls, and from
// elsewhere during a call. Neither needs memory.
#include "io_fixture.hpp"
#include "tests/support/refusing_memory.hpp"

namespace coir::testing {
namespace {

class deadline_memory_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, deadline_memory_test, every_rung(), rung_name);

TEST_P(deadline_memory_test, one_for_each_request_needs_none) {
  on_fiber([] {
    auto [a, b] = tcp_pair();
    allow(0);  // of this thread, which nothing here changes
    for (int i = 0; i < 1000; ++i) {
      a.set_read_deadline(clock::now() + 10s);
      a.set_write_deadline(clock::now() + 10s);
      a.set_read_deadline(clock::time_point::max());
      a.set_write_deadline(clock::time_point::max());
    }
    EXPECT_EQ(refusals(), 0);
    allow(-1);
  });
}

TEST_P(deadline_memory_test, an_earlier_one_for_a_call_in_flight_needs_none) {
  on_fiber([] {
    for (int i = 0; i < 20; ++i) {
      auto [a, b] = tcp_pair();
      auto reader = spawn([&a = a] {
        char buffer[1];
        return error_of([&] { (void)a.read_some(buffer); });
      });
      await_parked(reader);
      allow(0);  // of this thread, which nothing here changes
      a.set_read_deadline(clock::now());
      EXPECT_EQ(refusals(), 0);
      allow(-1);
      EXPECT_EQ(reader.get(), std::errc::timed_out);
    }
  });
}

// Many at once have one message of the descriptor's between them.
TEST_P(deadline_memory_test, of_many_that_are_set_at_once_the_last_counts) {
  on_fiber([] {
    for (int i = 0; i < rounds(100); ++i) {
      auto [a, b] = tcp_pair();
      const auto read = [&a = a] {
        char buffer[1];
        return error_of([&] { (void)a.read_some(buffer); });
      };
      auto reader = spawn(read);
      for (int step = 0; step < 50; ++step) a.set_read_deadline(clock::now() + 1h - step * 1s);
      a.set_read_deadline(clock::now());
      EXPECT_EQ(reader.get(), std::errc::timed_out);
    }
  });
}

}  // namespace
}  // namespace coir::testing
