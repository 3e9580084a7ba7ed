// Boost.Fiber's programs on coir's reactors, with one changed line.
#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <boost/fiber/all.hpp>
#include <coir/coir.hpp>
#include <coir/interop/boost_fiber.hpp>

#include "io/dial.hpp"

namespace fibers = boost::fibers;
using namespace std::chrono_literals;

namespace {

coir::options on(coir::reactor_kind reactor) {
  coir::options o;
  o.reactor = reactor;
  return o;
}

// On a thread of its own, whose main fiber runs `main`.
template <class F>
void with_guests(coir::reactor_kind reactor, F&& main) {
  std::thread([&] {
    fibers::use_scheduling_algorithm<coir::boost_fiber_algorithm>(on(reactor));
    main();
  }).join();
}

class BoostFiberTest : public testing::TestWithParam<coir::reactor_kind> {};
std::string name_of(const testing::TestParamInfo<coir::reactor_kind>& of) {
  if (of.param == coir::reactor_kind::epoll) return "epoll";
  return of.param == coir::reactor_kind::uring_oneshot ? "uring_oneshot" : "uring";
}
INSTANTIATE_TEST_SUITE_P(Reactors, BoostFiberTest,
                         testing::Values(coir::reactor_kind::uring,
                                         coir::reactor_kind::uring_oneshot,
                                         coir::reactor_kind::epoll),
                         name_of);

void echo(coir::tcp_stream s) {
  char text[256];
  while (const std::size_t n = s.read_some(text)) s.write(std::string_view(text, n));
}

TEST_P(BoostFiberTest, its_fibers_wait_in_our_reactor_and_others_run) {
  with_guests(GetParam(), [] {
    auto listener = coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0"));
    const coir::endpoint at = listener.local();
    constexpr int clients = 50;
    fibers::fiber acceptor([&] {
      std::vector<fibers::fiber> all;
      for (int i = 0; i < clients; ++i)
        all.emplace_back([s = listener.accept()]() mutable { echo(std::move(s)); });
      for (auto& f : all) f.join();
    });
    std::vector<fibers::fiber> all;
    int answered = 0;
    for (int c = 0; c < clients; ++c)
      all.emplace_back([&, c] {
        auto s = coir::tcp_stream::connect(at);
        for (int i = 0; i < 20; ++i) {
          const std::string sent = std::to_string(c * 1000 + i);
          s.write(sent);
          std::string came(sent.size(), 0);
          s.read_exactly(std::span(came));
          EXPECT_EQ(came, sent);
          ++answered;
          if (i % 5 == 0) boost::this_fiber::yield();
        }
      });
    for (auto& f : all) f.join();
    acceptor.join();
    EXPECT_EQ(answered, clients * 20);
  });
}

TEST_P(BoostFiberTest, the_main_fiber_may_call_it_before_any_other_is_started) {
  with_guests(GetParam(), [] {
    auto [a, b] = coir::unix_stream::pair();
    a.write("abc");
    char text[3];
    b.read_exactly(text);
    EXPECT_EQ(std::string_view(text, 3), "abc");
  });
}

TEST_P(BoostFiberTest, a_fiber_that_is_dispatched_at_once_is_itself) {
  with_guests(GetParam(), [] {
    auto [a, b] = coir::unix_stream::pair();
    std::string order;
    char text[1];
    fibers::fiber reader(fibers::launch::dispatch, [&, &from = b] {
      order += "r";
      from.read_exactly(text);  // parks the new fiber and not the one that started it
      order += "R";
    });
    order += "m";
    a.write("x");
    reader.join();
    EXPECT_EQ(order, "rmR");
  });
}

TEST_P(BoostFiberTest, deadlines_and_timed_waits_of_both_end_in_time) {
  with_guests(GetParam(), [] {
    auto [a, b] = coir::unix_stream::pair();
    std::vector<int> order;
    fibers::fiber reading([&, &from = a] {
      from.set_read_deadline(std::chrono::steady_clock::now() + 60ms);
      char text[1];
      std::error_code error;
      from.read_some(text, error);
      EXPECT_EQ(error, std::errc::timed_out);
      order.push_back(2);
    });
    fibers::fiber sleeping([&] {
      boost::this_fiber::sleep_for(20ms);
      order.push_back(1);
      coir::this_fiber::sleep_for(80ms);
      order.push_back(3);
    });
    fibers::mutex mutex;
    std::unique_lock held(mutex);
    fibers::condition_variable never_notified;
    EXPECT_EQ(never_notified.wait_for(held, 10ms), fibers::cv_status::timeout);
    reading.join();
    sleeping.join();
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
  });
}

TEST_P(BoostFiberTest, boosts_own_tools_mix_with_our_io) {
  with_guests(GetParam(), [] {
    auto [a, b] = coir::unix_stream::pair();
    fibers::buffered_channel<int> numbers(4);
    fibers::unbuffered_channel<int> squares;
    fibers::barrier together(2);
    fibers::fiber_specific_ptr<int> own;
    fibers::fiber sender([&, &to = a] {
      own.reset(new int(1));
      together.wait();
      for (int i = 0; i < 100; ++i) to.write(std::string(1, char(i)));
      to.shutdown_write();
      EXPECT_EQ(*own, 1);
    });
    fibers::fiber reader([&, &from = b] {
      own.reset(new int(2));
      together.wait();
      char c[1];
      while (from.read_some(c)) numbers.push(c[0]);
      numbers.close();
      EXPECT_EQ(*own, 2);
    });
    fibers::fiber squarer([&] {
      for (int n : numbers) squares.push(n * n);
      squares.close();
    });
    auto sum = fibers::async([&] {
      int total = 0;
      for (int n : squares) total += n;
      return total;
    });
    EXPECT_EQ(sum.get(), 328'350);
    sender.join();
    reader.join();
    squarer.join();
  });
}

TEST_P(BoostFiberTest, items_go_between_its_fibers_and_ours) {
  constexpr int count = 2'000;
  coir::channel<int> there(8), back(8);
  coir::options o = on(GetParam());
  o.workers = 2;
  std::thread guests([&] {
    fibers::use_scheduling_algorithm<coir::boost_fiber_algorithm>(on(GetParam()));
    std::vector<fibers::fiber> all;
    for (int f = 0; f < 4; ++f)
      all.emplace_back([&] {
        for (int n : there) back.push(n + 1);
      });
    for (auto& f : all) f.join();
    back.close();
  });
  long sum = 0;
  coir::run(o, [&] {
    auto feeder = coir::spawn([&] {
      for (int i = 0; i < count; ++i) there.push(i);
      there.close();
    });
    for (int n : back) sum += n;
    feeder.get();
  });
  guests.join();
  EXPECT_EQ(sum, long{count} * (count + 1) / 2);
}

TEST_P(BoostFiberTest, a_lock_excludes_its_fibers_ours_and_plain_threads) {
  coir::mutex mutex;
  int counter = 0;
  const auto add = [&](auto yield) {
    for (int i = 0; i < 1'000; ++i) {
      const std::lock_guard held(mutex);
      const int before = counter;
      if (i % 10 == 0) yield();
      counter = before + 1;
    }
  };
  std::thread guests([&] {
    fibers::use_scheduling_algorithm<coir::boost_fiber_algorithm>(on(GetParam()));
    fibers::fiber a([&] { add([] { boost::this_fiber::yield(); }); });
    fibers::fiber b([&] { add([] { coir::this_fiber::yield(); }); });
    a.join();
    b.join();
  });
  std::thread plain([&] { add([] { std::this_thread::yield(); }); });
  coir::options o = on(GetParam());
  o.workers = 2;
  coir::run(o, [&] {
    auto a = coir::spawn([&] { add([] { coir::this_fiber::yield(); }); });
    auto b = coir::spawn([&] { add([] { coir::this_fiber::yield(); }); });
    a.get();
    b.get();
  });
  guests.join();
  plain.join();
  EXPECT_EQ(counter, 5'000);
}

TEST_P(BoostFiberTest, closing_from_another_thread_ends_its_read) {
  auto [a, b] = coir::unix_stream::pair();
  coir::event reading;
  std::thread guests([&, &from = a] {
    fibers::use_scheduling_algorithm<coir::boost_fiber_algorithm>(on(GetParam()));
    fibers::fiber([&] {
      char text[1];
      std::error_code error;
      reading.set();
      from.read_some(text, error);
      EXPECT_EQ(error, std::errc::operation_canceled);
    }).join();
  });
  reading.wait();
  std::this_thread::sleep_for(5ms);  // so that it is mostly in the read
  a.close();
  guests.join();
}

std::size_t descriptors() {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++n;
  return n;
}

TEST_P(BoostFiberTest, threads_come_and_go_and_leave_no_descriptor) {
  const auto once = [] {
    auto [a, b] = coir::unix_stream::pair();
    fibers::fiber writer([&, &to = a] { to.write("x"); });
    char text[1];
    b.read_exactly(text);
    writer.join();
  };
  with_guests(GetParam(), once);
  const std::size_t before = descriptors();
  for (int i = 0; i < 50; ++i) with_guests(GetParam(), once);
  EXPECT_EQ(descriptors(), before);
}

TEST(BoostFiberRefusalTest, a_worker_of_ours_is_no_place_for_it) {
  coir::run([] { EXPECT_THROW(coir::boost_fiber_algorithm{}, std::logic_error); });
}

TEST_P(BoostFiberTest, pipes_files_and_children_work_on_its_fibers) {
  with_guests(GetParam(), [] {
    auto [from, to] = coir::make_pipe();
    from.close();
    std::error_code error;
    to.write("x", error);  // the disposition of SIGPIPE is the default: it would end this program
    EXPECT_EQ(error, std::errc::broken_pipe);
    coir::file f = coir::file::temporary();
    f.write_at("abc", 0);
    char text[8];
    EXPECT_EQ(f.read_at(text, 1), 2U);
    EXPECT_EQ(f.size(), 3U);
    auto p = coir::process::spawn({"cat"}, {.in = coir::stdio::pipe, .out = coir::stdio::pipe});
    fibers::fiber reader([&] { EXPECT_EQ(p.stdout_().read_some(text), 2U); });
    p.stdin_().write("ab");
    reader.join();
    p.stdin_().close();
    EXPECT_TRUE(p.wait().success());
    auto killed = coir::process::spawn({"sleep", "1000"});
  });
}

// They run fibers of ours inside.
TEST_P(BoostFiberTest, calls_that_do_several_things_at_once_work_on_its_fibers) {
  with_guests(GetParam(), [] {
    const std::string much(1 << 20, 'm');
    const auto r = coir::run_process({"sh", "-c", "cat; echo it >&2"}, much);
    EXPECT_TRUE(r.status.success());
    EXPECT_EQ(r.out, much);
    EXPECT_EQ(r.err, "it\n");

    auto [a, b] = coir::unix_stream::pair();
    auto [c, d] = coir::unix_stream::pair();
    bool others_ran = false;
    fibers::fiber proxy([&b = b, &c = c] { coir::copy_both_ways(b, c); });
    fibers::fiber client([&, &a = a] {
      others_ran = true;
      a.write("question");
      a.shutdown_write();
      EXPECT_EQ(coir::reader(a).read_all(), "answer");
    });
    EXPECT_EQ(coir::reader(d).read_all(), "question");
    EXPECT_TRUE(others_ran);
    d.write("answer");
    d.shutdown_write();
    client.join();
    proxy.join();

    coir::tcp_listener listener = coir::tcp_listener::bind(coir::endpoint::parse("127.0.0.1:0"));
    std::vector<coir::connect_attempt> failed;
    const std::vector<coir::endpoint> to{coir::endpoint::parse("127.0.0.2:1"), listener.local()};
    coir::tcp_stream s(coir::io::dial(to, 1ms, failed));  // as for a name of two addresses
    EXPECT_TRUE(s.is_open());
    EXPECT_EQ(failed.at(0).error, std::errc::connection_refused);
    s.write("x");
    char text[1];
    EXPECT_EQ(listener.accept().read_some(text), 1U);
  });
}

}  // namespace
