// signal_set: who gets which signal, and what becomes of the disposition.
#include <coir/sched/signal_set.hpp>
#include <coir/sched/timeout.hpp>

#include <csignal>
#include <stdexcept>
#include <system_error>

#include <unistd.h>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

std::atomic<int> handled_before{0};

class signal_test : public runtime_test {
 protected:
  // What a signal does when no set has it: counted.
  void SetUp() override {
    for (const int s : {SIGUSR1, SIGUSR2}) std::signal(s, [](int) { ++handled_before; });
    if (fiber::sanitizers::thread) block_here();
  }
  // ThreadSanitizer keeps a signal back until its thread makes a call that it knows, and the thread
  // that waits for a runtime makes none.
  static void block_here() {
    sigset_t mine;
    ::sigemptyset(&mine);
    ::sigaddset(&mine, SIGUSR1);
    ::sigaddset(&mine, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &mine, nullptr);
  }
  void TearDown() override {
    runtime_test::TearDown();
    for (const int s : {SIGUSR1, SIGUSR2}) std::signal(s, SIG_DFL);
  }
};
INSTANTIATE_TEST_SUITE_P(, signal_test, every_setting(), name_of);

void send(int signal) { ::kill(::getpid(), signal); }

template <class T>
void await_parked(const task<T>& t) {
  ASSERT_TRUE(eventually_on_fiber([&] { return t.state() == task_state::parked; }));
}

TEST_P(signal_test, a_signal_wakes_who_waits_for_it) {
  on_fiber([] {
    signal_set signals{SIGUSR1, SIGUSR2};
    auto waiting = spawn([&] { return signals.wait(); });
    await_parked(waiting);
    send(SIGUSR2);
    EXPECT_EQ(waiting.get(), SIGUSR2);
    EXPECT_FALSE(signals.try_wait().has_value());
    EXPECT_FALSE(signals.wait_for(1ms).has_value());
    EXPECT_THROW(with_timeout(1ms, [&] { signals.wait(); }), timed_out);
  });
}

TEST_P(signal_test, what_comes_when_nobody_waits_stays_and_several_of_one_kind_are_one) {
  on_fiber([] {
    signal_set signals{SIGUSR1, SIGUSR2};
    signal_set witness{SIGUSR2};
    send(SIGUSR1);
    send(SIGUSR1);
    send(SIGUSR2);
    EXPECT_EQ(witness.wait(), SIGUSR2);
    EXPECT_EQ(signals.wait_for(10s), SIGUSR1);
    EXPECT_EQ(signals.wait_for(10s), SIGUSR2);
  });
}

TEST_P(signal_test, every_set_gets_each_signal_and_one_waiter_of_a_set_takes_it) {
  on_fiber([] {
    signal_set one{SIGUSR1}, two{SIGUSR1, SIGUSR2};
    std::atomic<int> taken{0};
    std::vector<task<void>> waiting;
    for (signal_set* s : {&one, &one, &two})
      waiting.push_back(spawn([s, &taken] {
        EXPECT_EQ(s->wait(), SIGUSR1);
        ++taken;
      }));
    for (auto& w : waiting) await_parked(w);
    send(SIGUSR1);
    waiting[2].get();
    EXPECT_TRUE(eventually_on_fiber([&] { return taken == 2; }));
    EXPECT_NE(waiting[0].done(), waiting[1].done());
    send(SIGUSR1);
    waiting[0].get();
    waiting[1].get();
    EXPECT_EQ(two.wait(), SIGUSR1);
  });
}

TEST_P(signal_test, a_cancelled_waiter_takes_no_signal_from_the_others) {
  on_fiber([] {
    signal_set signals{SIGUSR1};
    for (int i = 0; i < 50; ++i) {
      auto leaves = spawn([&] { return signals.wait(); });
      await_parked(leaves);
      auto stays = spawn([&] { return signals.wait(); });
      send(SIGUSR1);
      for (int n = i % 4; n != 0; --n) this_fiber::yield();
      leaves.cancel();
      if (leaves.error() == nullptr) send(SIGUSR1);  // it was faster
      EXPECT_EQ(stays.get(), SIGUSR1);
    }
  });
}

TEST_P(signal_test, a_plain_thread_may_wait_as_well) {
  signal_set signals{SIGUSR1};
  std::thread waiting([&] { EXPECT_EQ(signals.wait(), SIGUSR1); });
  send(SIGUSR1);
  waiting.join();
}

TEST_P(signal_test, the_last_set_to_go_restores_the_disposition) {
  if (fiber::sanitizers::thread) GTEST_SKIP() << "no thread would take the signal";
  on_fiber([] {
    handled_before = 0;
    {
      signal_set one{SIGUSR1};
      {
        signal_set two{SIGUSR1, SIGUSR2};
        signal_set moved = std::move(two);
        send(SIGUSR2);
        EXPECT_EQ(moved.wait(), SIGUSR2);
      }
      send(SIGUSR1);
      EXPECT_EQ(one.wait(), SIGUSR1);
      EXPECT_EQ(handled_before, 0);
      send(SIGUSR2);
      EXPECT_TRUE(eventually_on_fiber([] { return handled_before == 1; }));
    }
    send(SIGUSR1);
    EXPECT_TRUE(eventually_on_fiber([] { return handled_before == 2; }));
  });
}

// The usual way of programs that wait for signals: no thread has them unblocked.
TEST_P(signal_test, signals_that_every_thread_blocks_arrive) {
  sigset_t mine, before;
  ::sigemptyset(&mine);
  ::sigaddset(&mine, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &mine, &before);
  on_fiber([] {
    signal_set signals{SIGUSR1};
    send(SIGUSR1);
    EXPECT_EQ(signals.wait(), SIGUSR1);
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_P(signal_test, what_cannot_be_waited_for_is_a_bad_argument) {
  for (const int s : {0, -1, 65, 1000, SIGKILL, SIGSTOP, SIGSEGV, 32})
    EXPECT_THROW((signal_set{SIGUSR1, s}), std::invalid_argument) << s;
  if (fiber::sanitizers::thread) return;
  handled_before = 0;
  send(SIGUSR1);
  EXPECT_TRUE(eventually([] { return handled_before == 1; })) << "none of it is kept";
}

// F78: a storm, while sets come and go. Somebody hears of it after the last signal.
TEST_P(signal_test, a_storm_loses_no_last_signal_and_sets_may_go_in_it) {
  on_fiber([] {
    const int count = sanitized ? 2'000 : 100'000;
    std::atomic<int> begun{0};
    std::atomic<bool> over{false};
    signal_set stays{SIGUSR1};
    auto comes_and_goes = spawn([&] {
      while (!over) {
        signal_set s{SIGUSR1, SIGUSR2};
        s.wait_for(100us);
      }
    });
    std::thread storm([&] {
      while (begun < count) {
        ++begun;
        if (begun % 2 == 0) send(SIGUSR2);
        send(SIGUSR1);
      }
    });
    std::uint64_t times = 0;
    for (bool last = false; !last; ++times) {
      ASSERT_TRUE(stays.wait_for(sanitized ? 60s : 20s).has_value()) << begun;
      last = begun == count;
    }
    EXPECT_GT(times, 0U);
    over = true;
    comes_and_goes.get();
    storm.join();
  });
}

}  // namespace
}  // namespace coir::testing
