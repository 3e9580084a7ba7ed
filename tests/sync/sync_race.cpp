// Many against each other, at every turn that the primitives have: nothing is lost, nothing is
// made, and each of the outcomes is seen.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/barrier.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/notifier.hpp>
#include <coir/sync/promise.hpp>
#include <coir/sync/shared_mutex.hpp>

#include <array>
#include <memory>
#include <optional>

#include "waiting.hpp"

namespace coir::testing {
namespace {

class sync_race : public runtime_test {
 protected:
  using fiber_body = std::function<void(dice&)>;

  // Runs each body again and again on a fiber of its own, and `threads` on plain threads, until the
  // time is over; a fiber picked at random is cancelled now and then. A body may throw cancelled.
  void race(
      const std::vector<fiber_body>& fibers, const std::vector<fiber_body>& threads,
      const std::function<void()>& at_the_end = [] {}) {
    const watchdog guard(rt(), progress);
    const auto until = std::chrono::steady_clock::now() + stress_time(400ms);
    std::vector<task<void>> all;
    std::atomic<bool> all_begun{false};
    const auto repeat = [&, this](const fiber_body& body, std::uint32_t seed) {
      dice random(seed);
      while (std::chrono::steady_clock::now() < until) {
        // Besides the thread below: in step with the others, however busy the processors are.
        if (all_begun && random(16) == 0)
          all[random(static_cast<std::uint32_t>(all.size()))].cancel();
        try {
          body(random);
        } catch (const cancelled&) {
          ++cancels;
        }
        progress.fetch_add(1, std::memory_order_relaxed);
      }
    };
    std::atomic<std::size_t> left{fibers.size() + threads.size()}, begun{0};
    const auto run = [&](const fiber_body& body, std::uint32_t n) {
      ++begun;
      repeat(body, n);
      --left;
    };
    std::uint32_t seed = 1;
    for (const auto& f : fibers) all.push_back(rt().spawn([&, n = seed++] { run(f, n); }));
    std::vector<std::thread> others;
    for (const auto& f : threads) others.emplace_back([&, n = seed++] { run(f, n); });
    while (begun != left) std::this_thread::yield();  // one that is cancelled before never runs
    const auto many = static_cast<std::uint32_t>(all.size());
    all_begun = true;
    dice random(seed);
    while (std::chrono::steady_clock::now() < until) {
      all[random(many)].cancel();
      std::this_thread::sleep_for(std::chrono::microseconds(random(100)));
    }
    while (left != 0) {
      for (auto& t : all) t.cancel();  // those who wait for ever
      at_the_end();
      std::this_thread::sleep_for(1ms);
    }
    for (auto& t : all) t.wait();
    for (auto& t : others) t.join();
  }
  // One in a hundred of each outcome.
  static void each_happens(const char* what, std::initializer_list<std::uint64_t> outcomes) {
    std::uint64_t all = 0;
    for (const std::uint64_t n : outcomes) all += n;
    if (all < 1000) return;  // too few to say
    std::size_t which = 0;
    constexpr std::uint64_t at_least_one_of = sanitized ? 10'000 : 100;
    for (const std::uint64_t n : outcomes)
      EXPECT_GE(n * at_least_one_of, all) << what << ": outcome " << ++which << " of those printed";
  }
  // Short enough to be over now and then.
  static std::chrono::nanoseconds little_patience(dice& random) {
    return std::chrono::nanoseconds(random(2'000));
  }

  std::atomic<std::uint64_t> progress{0}, cancels{0};
};
INSTANTIATE_TEST_SUITE_P(, sync_race, stress_settings(), name_of);

TEST_P(sync_race, a_shared_mutex_has_one_writer_or_many_readers_and_is_free_at_the_end) {
  shared_mutex m;
  std::atomic<int> readers{0}, writers{0};
  std::atomic<std::uint64_t> read{0}, written{0}, given_up{0}, made_shared{0};
  const auto inside = [&](bool writes, dice& random) {
    if (writes) {
      EXPECT_EQ(writers.fetch_add(1), 0);
      EXPECT_EQ(readers.load(), 0);
    } else {
      ++readers;
      EXPECT_EQ(writers.load(), 0);
    }
    random.spin(200);
    // Or else they seldom meet where only one of them runs at a time.
    if (random(128) == 0) {
      try {
        this_fiber::sleep_for(1us);
      } catch (const cancelled&) {
        ++cancels;
      }
    }
    --(writes ? writers : readers);
  };
  const fiber_body use = [&](dice& random) {
    const bool writes = random(3) == 0;
    const bool timed = random(2) == 0;
    const auto patience = little_patience(random);
    if (writes) {
      if (timed ? !m.try_lock_for(patience) : (m.lock(), false)) {
        ++given_up;
        return;
      }
      inside(true, random);
      ++written;
      if (random(4) != 0) return m.unlock();
      m.unlock_and_lock_shared();
      ++made_shared;
    } else if (timed ? !m.try_lock_shared_for(patience) : (m.lock_shared(), false)) {
      ++given_up;
      return;
    }
    inside(false, random);
    ++read;
    m.unlock_shared();
  };
  race(std::vector<fiber_body>(8, use), {use, use});
  EXPECT_TRUE(m.try_lock()) << "somebody took it along";
  m.unlock();
  std::printf("shared_mutex: read %llu, written %llu, given up %llu, cancelled %llu\n",
              static_cast<unsigned long long>(read), static_cast<unsigned long long>(written),
              static_cast<unsigned long long>(given_up), static_cast<unsigned long long>(cancels));
  each_happens("a lock", {read, written, given_up, cancels, made_shared});
}

// F24: two wakers, deadlines and cancellation on each wait; a token is consumed once or is still
// there.
TEST_P(sync_race, a_notifiers_token_wakes_exactly_one) {
  struct cell {
    notifier n;
    std::atomic<std::uint64_t> given{0}, taken{0};
  };
  std::array<cell, 3> cells;
  std::atomic<std::uint64_t> given_up{0};
  const fiber_body take = [&](dice& random) {
    cell& c = cells[random(3)];
    if (random(2) == 0) {
      if (!c.n.wait_for(little_patience(random))) {
        ++given_up;
        return;
      }
    } else {
      c.n.wait();
    }
    ++c.taken;
  };
  // Gives only when the last token has been taken, so that none is merged into a stored one.
  const fiber_body give = [&](dice& random) {
    cell& c = cells[random(3)];
    std::uint64_t given = c.given;
    random.spin(100);
    if (c.taken != given || !c.given.compare_exchange_strong(given, given + 1)) {
      this_fiber::yield();
      return;
    }
    c.n.notify_one();
  };
  race({take, take, take, take, give, give}, {give});
  std::uint64_t all = 0;
  for (cell& c : cells) {
    if (c.n.wait_for(0ms)) ++c.taken;
    EXPECT_EQ(c.taken, c.given) << "a token was lost, or made";
    EXPECT_FALSE(c.n.wait_for(0ms)) << "a token was made";
    all += c.given;
  }
  std::printf("notifier: tokens %llu, given up %llu, cancelled %llu\n",
              static_cast<unsigned long long>(all), static_cast<unsigned long long>(given_up),
              static_cast<unsigned long long>(cancels));
  each_happens("a wait for a token", {all, given_up, cancels});
}

// F90: the indices of a phase are distinct and complete, whoever gave up meanwhile.
TEST_P(sync_race, a_barriers_phases_are_complete_though_some_give_up_and_are_cancelled) {
  constexpr std::size_t parties = 3;
  std::array<std::atomic<std::uint64_t>, parties> with_index{};
  std::atomic<std::uint64_t> phases{0}, given_up{0}, broken{0}, arrivals{0};
  std::atomic<int> completing{0};
  barrier b(parties, [&]() noexcept {
    EXPECT_EQ(completing.fetch_add(1), 0);
    ++phases;
    --completing;
  });
  const fiber_body meet = [&](dice& random) {
    // The others wait for it; if they seldom give up, for so long that their workers have nothing
    // else to do than to see that their time is over.
    if (given_up * 20 < arrivals)
      this_fiber::sleep_for(std::chrono::microseconds(random(100)));
    else
      random.spin(600);
    try {
      const auto index = random(3) == 0 ? b.arrive_and_wait_for(little_patience(random))
                                        : std::optional<std::size_t>(b.arrive_and_wait());
      if (!index) {
        ++given_up;
        return;
      }
      ASSERT_LT(*index, parties);
      ++with_index[*index];
      ++arrivals;
    } catch (const broken_barrier&) {
      ++broken;
    }
  };
  race(std::vector<fiber_body>(6, meet), {meet}, [&] { b.reset(); });
  // Before the resets at the end each phase gave each index once; those may strike the released.
  for (auto& n : with_index) {
    EXPECT_LE(n, phases);
    EXPECT_GE(n + broken, phases);
  }
  EXPECT_GE(arrivals + broken, parties * phases) << "somebody was lost";
  EXPECT_LE(arrivals, parties * phases);
  EXPECT_EQ(b.waiting(), 0U);
  EXPECT_EQ(b.arrive_and_wait_for(0ms), std::nullopt) << "an arrival was left behind";
  std::printf("barrier: phases %llu, given up %llu, cancelled %llu\n",
              static_cast<unsigned long long>(phases), static_cast<unsigned long long>(given_up),
              static_cast<unsigned long long>(cancels));
  each_happens("an arrival", {arrivals, given_up, cancels});
}

// A value that lets others run while it is made. Nobody who makes one is cancelled.
struct slow_value {
  explicit slow_value(int n) : held(std::make_unique<int>(n)) {}
  slow_value(slow_value&& other) noexcept : held(std::move(other.held)) { this_fiber::yield(); }
  std::unique_ptr<int> held;
};

// The promise lies where it is destroyed as soon as somebody has its value; several set it at once.
TEST_P(sync_race, a_promise_is_settled_once_by_one_of_a_value_a_cancellation_and_its_end) {
  std::atomic<std::uint64_t> values{0}, cancelled_first{0}, broken{0}, refused{0};
  const fiber_body round = [&](dice& random) {
    auto p = std::make_shared<promise<slow_value>>();
    future<slow_value> f = p->get_future();
    std::atomic<int> calls{0}, set{0}, got{0};
    f.on_done([&calls] { ++calls; });
    const std::uint32_t what = random(4), spins = random(400);
    auto setter = [p, what, spins, &refused, &set](std::uint32_t mine) {
      dice(what + spins + mine).spin(spins + 1);
      slow_value value(7);
      if (what == 3) return;
      if (p->try_set_value(std::move(value))) {
        ++set;
      } else {
        ++refused;
        EXPECT_NE(value.held, nullptr) << "its argument was taken";
      }
    };
    auto one = rt().spawn(setter, 0), two = rt().spawn(std::move(setter), 1);
    p.reset();
    random.spin(400);
    if (what == 1) f.cancel();
    shield([&] {
      if (what == 2) static_cast<void>(f.wait_for(std::chrono::microseconds(random(20))));
      try {
        EXPECT_EQ(*f.get().held, 7);
        ++got;
        ++values;
      } catch (const cancelled& c) {
        EXPECT_EQ(c.fiber(), fiber_id{});
        ++cancelled_first;
      } catch (const std::future_error&) {
        ++broken;
      }
      one.get();
      two.get();
    });
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(set, got) << "set twice, or by nobody";
  };
  race(std::vector<fiber_body>(4, round), {});
  EXPECT_TRUE(eventually([&] { return rt().metrics().fibers_alive == 0; }));
  std::printf("promise: values %llu, cancelled %llu, broken %llu, refused %llu\n",
              static_cast<unsigned long long>(values),
              static_cast<unsigned long long>(cancelled_first),
              static_cast<unsigned long long>(broken), static_cast<unsigned long long>(refused));
  each_happens("a promise", {values, cancelled_first, broken});
}

}  // namespace
}  // namespace coir::testing
