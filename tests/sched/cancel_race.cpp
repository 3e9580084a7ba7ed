// Cancellation against the wake, over every wait there is: one of the two wins, and no permit,
// fiber or item is lost.
#include <coir/sched/cancelled.hpp>
#include <coir/sched/task.hpp>
#include <coir/sched/this_fiber.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <array>
#include <functional>
#include <mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

// Each round a victim blocks, while a waker and a canceller, fibers of their own, strike at about
// the same time.
class cancel_race : public runtime_test {
 protected:
  struct cell {
    std::uint32_t number = 0;
    task<void> victim;
    // How many rounds the victim has begun, and the others have struck in. Negative: the victim has
    // ended.
    std::atomic<std::int64_t> begun{0}, woken{0}, asked{0};
    std::uint64_t wake_won = 0, cancel_won = 0;
    mutex m;
    event e;
    counting_semaphore<> s{0};
    condition_variable c;
    bool told = false;  // under m
  };

  // In a round: block() waits, throws or returns; wake() ends it; settle(was_cancelled) puts things
  // in order and checks that nothing is lost, when nobody strikes any more.
  void race(const char* what, const std::function<void(cell&, dice&)>& before,
            const std::function<void(cell&, dice&)>& block,
            const std::function<void(cell&, dice&)>& wake,
            const std::function<void(cell&, bool was_cancelled)>& settle,
            std::uint32_t canceller_waits = 2) {
    std::vector<std::unique_ptr<cell>> cells;
    {
      const watchdog guard(rt(), progress);
      const auto until = std::chrono::steady_clock::now() + stress_time(250ms);
      event all_made;
      std::vector<task<void>> others;
      for (std::uint32_t i = 0; i < workers(); ++i) {
        cells.push_back(std::make_unique<cell>());
        cell& here = *cells.back();
        here.number = i;
        here.victim = rt().spawn([&, this] {
          all_made.wait();
          dice random(here.number * 3 + 1);
          for (std::int64_t round = 1; std::chrono::steady_clock::now() < until; ++round) {
            before(here, random);
            here.begun = round;
            bool was_cancelled = false;
            try {
              block(here, random);
              ++here.wake_won;
            } catch (const cancelled&) {
              was_cancelled = true;
              ++here.cancel_won;
            }
            progress.fetch_add(1, std::memory_order_relaxed);
            while (here.woken != round || here.asked != round) yield_uncancelled();
            this_fiber::uncancel();
            settle(here, was_cancelled);
          }
          here.begun = -1;
        });
        others.push_back(rt().spawn([&] { strike(here, here.woken, 5, all_made, wake); }));
        others.push_back(rt().spawn([&] {
          strike(here, here.asked, canceller_waits, all_made,
                 [](cell& struck, dice&) { struck.victim.cancel(); });
        }));
      }
      all_made.set();
      for (auto& t : others) t.get();
      for (auto& c : cells) c->victim.get();
    }
    std::uint64_t wakes = 0, cancels = 0;
    for (const auto& c : cells) {
      wakes += c->wake_won;
      cancels += c->cancel_won;
    }
    expect_both_win(what, wakes, cancels);
  }

  std::atomic<std::uint64_t> progress{0};

 private:
  static void yield_uncancelled() {
    try {
      this_fiber::yield();
    } catch (const cancelled&) {  // the request of a round that the wake has won
    }
  }
  // `waits`: how many others it lets run before it strikes, at most.
  template <class Act>
  static void strike(cell& here, std::atomic<std::int64_t>& struck, std::uint32_t waits,
                     event& all_made, Act&& act) {
    all_made.wait();
    dice random(here.number * 3 + waits);
    for (std::int64_t round = 1;; ++round) {
      std::int64_t begun;
      while ((begun = here.begun) != round && begun >= 0) this_fiber::yield();
      if (begun < 0) return;
      for (std::uint32_t n = random(waits + 1); n > 0; --n) this_fiber::yield();
      random.spin(300);
      act(here, random);
      struck = round;
    }
  }
};
INSTANTIATE_TEST_SUITE_P(, cancel_race, stress_settings(), name_of);

const auto nothing = [](auto&&...) {};

TEST_P(cancel_race, a_sleep) {
  race(
      "sleep", nothing,
      [](cell&, dice& random) { this_fiber::sleep_for(std::chrono::microseconds(1 + random(5))); },
      nothing, nothing, 200);
}

TEST_P(cancel_race, an_event) {
  race(
      "event", [](cell& c, dice&) { c.e.reset(); }, [](cell& c, dice&) { c.e.wait(); },
      [](cell& c, dice&) { c.e.set(); }, [](cell& c, bool) { EXPECT_TRUE(c.e.is_set()); });
}

TEST_P(cancel_race, a_semaphore) {
  race(
      "semaphore", nothing, [](cell& c, dice&) { c.s.acquire(3); },
      [](cell& c, dice& random) {
        c.s.release(1);
        random.spin(50);
        c.s.release(2);
      },
      [](cell& c, bool was_cancelled) {
        // What was released is there, unless the victim has it.
        EXPECT_EQ(c.s.try_acquire(3), was_cancelled) << "permits were lost or made";
        EXPECT_FALSE(c.s.try_acquire()) << "a permit was made";
      });
}

TEST_P(cancel_race, a_mutex) {
  race(
      "mutex",
      [](cell& c, dice&) {
        // The waker's: it cannot lock for us, so the victim waits for a helper that holds it until
        // told.
        c.told = false;
        c.e.reset();
        auto holds = std::make_shared<event>();
        spawn([&c, holds] {
          std::lock_guard lock(c.m);
          holds->set();
          c.e.wait();
        }).detach();
        holds->wait();
      },
      [](cell& c, dice&) {
        c.m.lock();
        c.m.unlock();
      },
      [](cell& c, dice&) { c.e.set(); },
      [](cell& c, bool) {
        std::lock_guard lock(c.m);  // nobody took it along
      });
}

TEST_P(cancel_race, a_condition_variable) {
  race(
      "condition_variable", [](cell& c, dice&) { c.told = false; },
      [](cell& c, dice&) {
        std::unique_lock lock(c.m);
        struct check {
          std::unique_lock<mutex>& lock;
          ~check() { EXPECT_TRUE(lock.owns_lock()); }
        } held{lock};
        c.c.wait(lock, [&c] { return c.told; });
      },
      [](cell& c, dice&) {
        std::lock_guard lock(c.m);
        c.told = true;
        c.c.notify_one();
      },
      [](cell& c, bool) {
        ASSERT_TRUE(c.m.try_lock());
        c.m.unlock();
      });
}

TEST_P(cancel_race, a_join) {
  struct joined {
    std::shared_ptr<task<int>> child;
  };
  std::vector<joined> children(workers());
  race(
      "join",
      [&](cell& c, dice&) {
        c.e.reset();
        children[c.number].child = std::make_shared<task<int>>(spawn([&c] {
          c.e.wait();
          return 6;
        }));
      },
      [&](cell& c, dice&) { children[c.number].child->wait(); }, [](cell& c, dice&) { c.e.set(); },
      [&](cell& c, bool) { EXPECT_EQ(children[c.number].child->get(), 6); });
}

// Copies of a task_ref are handles of their own, as a shared_future's are: used at the same time by
// two threads, one of them gets the value, and each may ask how it ended.
TEST(task_ref_race, one_copy_gets_the_value_and_each_the_error) {
  auto r = make_runtime(1);  // where what is cancelled at once has not started
  std::array<std::uint64_t, 2> won{};
  task_ref<std::unique_ptr<int>> value;
  task_ref<void> dropped;
  std::atomic<int> begun{0}, ended{0};
  std::atomic<bool> over{false};
  const auto rival = [&](std::uint32_t me) {
    dice random(me * 7 + 1);
    for (int round = 1;; ++round) {
      for (; begun != round; std::this_thread::yield())
        if (over) return;
      auto mine = value;
      auto gone = dropped;
      // One of them mostly hears of a round first, and on one processor always: in turn each is
      // late.
      if (round % 2 == static_cast<int>(me))
        for (std::uint32_t n = random(20); n != 0; --n) {
          random.spin(1000);
          std::this_thread::yield();
        }
      random.spin(200);
      try {
        EXPECT_EQ(*mine.get(), 3);
        ++won[me];
      } catch (const std::future_error&) {}
      EXPECT_NE(gone.error(), nullptr);
      EXPECT_NE(gone.error(), nullptr);
      ++ended;
    }
  };
  std::thread a([&] { rival(0); }), b([&] { rival(1); });
  const auto until = std::chrono::steady_clock::now() + stress_time(250ms);
  int rounds = 0;
  while (std::chrono::steady_clock::now() < until || rounds < 100) {
    r->block_on([&] {
      auto run = spawn([] { return std::make_unique<int>(3); });
      value = task_ref(run);
      run.wait();
      auto never_run = spawn([] {});
      never_run.cancel();
      dropped = task_ref(never_run);
      never_run.wait();
    });
    ended = 0;
    begun = ++rounds;
    while (ended != 2) std::this_thread::yield();
  }
  over = true;
  a.join();
  b.join();
  value = {};
  dropped = {};
  EXPECT_EQ(won[0] + won[1], static_cast<std::uint64_t>(rounds));
  expect_both_win("the get of two copies", won[0], won[1], "one", "the other");
}

// The fiber may wake before whoever asked has gone on. What it gives out afterwards is another
// token, for another request, whenever that one has gone on.
TEST_P(cancel_race, a_token_has_stopped_when_its_request_is_thrown_and_the_next_one_has_not) {
  rt().block_on([&] {
    const unsigned rounds = 300 * scale();
    for (unsigned i = 0; i < rounds; ++i) {
      auto asked = spawn([] {
        const std::stop_token before = this_fiber::stop_token();
        try {
          this_fiber::sleep_for(24h);
        } catch (const cancelled&) {}
        EXPECT_TRUE(before.stop_requested());
        const std::stop_token after = this_fiber::stop_token();
        this_fiber::sleep_for(20us);
        EXPECT_FALSE(after.stop_requested());
      });
      auto timed = spawn([] {
        std::stop_token inner;
        EXPECT_THROW(with_timeout(10us,
                                  [&] {
                                    inner = this_fiber::stop_token();
                                    this_fiber::sleep_for(24h);
                                  }),
                     timed_out);
        EXPECT_TRUE(inner.stop_requested());
        const std::stop_token after = this_fiber::stop_token();
        this_fiber::sleep_for(20us);
        EXPECT_FALSE(after.stop_requested());
      });
      event has_token;
      auto taken_back = spawn([&] {
        const std::stop_token before = this_fiber::stop_token();
        has_token.set();
        shield([] {
          while (!this_fiber::cancel_requested()) this_fiber::yield();
        });
        EXPECT_TRUE(this_fiber::uncancel());
        EXPECT_TRUE(before.stop_requested());
        const std::stop_token after = this_fiber::stop_token();
        this_fiber::sleep_for(20us);
        EXPECT_FALSE(after.stop_requested());
      });
      while (asked.state() != task_state::parked) this_fiber::yield();
      has_token.wait();
      asked.cancel();
      taken_back.cancel();
      asked.get();
      taken_back.get();
      timed.get();
      ASSERT_FALSE(HasFailure()) << "in round " << i;
    }
  });
}

}  // namespace
}  // namespace coir::testing
