// Misuse of the primitives stops the process with a message, in every build type.
#include <coir/sync/channel.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>
#include <coir/sync/select.hpp>
#include <coir/sync/work_queue.hpp>

#include <mutex>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class sync_death : public ::testing::Test {
 protected:
  sync_death() { ::testing::GTEST_FLAG(death_test_style) = "threadsafe"; }

  // Waits on a fiber of another thread's runtime when `misuse` is committed.
  template <class Wait, class Misuse>
  static void while_somebody_waits(Wait&& wait, Misuse&& misuse) {
    auto r = make_runtime(1);
    auto t = r->spawn(wait);
    while (t.state() != task_state::parked) std::this_thread::yield();
    misuse();
  }
};

TEST_F(sync_death, a_mutex_unlocked_by_nobody_or_a_stranger) {
  EXPECT_DEATH(
      {
        mutex m;
        m.unlock();
      },
      "coir: a mutex was unlocked by fiber 0, and nobody holds it");
  EXPECT_DEATH(
      {
        mutex m;
        m.lock();
        auto r = make_runtime(2);
        r->block_on([&] { m.unlock(); });
      },
      "coir: a mutex was unlocked by fiber [1-9][0-9]*, and another holds it");
}

TEST_F(sync_death, a_mutex_locked_twice) {
  EXPECT_DEATH(
      {
        mutex m;
        m.lock();
        m.lock();
      },
      "coir: a mutex was locked again by fiber");
  EXPECT_DEATH(
      {
        auto r = make_runtime(2);
        r->block_on([] {
          mutex m;
          std::lock_guard first(m);
          (void)m.try_lock_for(1ms);
        });
      },
      "coir: a mutex was locked again by fiber [1-9]");
}

TEST_F(sync_death, a_mutex_destroyed_while_it_is_held) {
  EXPECT_DEATH(
      {
        mutex m;
        m.lock();
      },
      "coir: a mutex was destroyed while");
}

TEST_F(sync_death, an_event_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        auto e = std::make_unique<event>();
        while_somebody_waits([&e] { e->wait(); }, [&] { e.reset(); });
      },
      "coir: an event was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_condition_variable_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        mutex m;
        auto c = std::make_unique<condition_variable>();
        while_somebody_waits(
            [&] {
              std::unique_lock lock(m);
              c->wait(lock);
            },
            [&] { c.reset(); });
      },
      "coir: a condition_variable was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_condition_variable_waited_for_without_its_lock) {
  EXPECT_DEATH(
      {
        mutex m;
        condition_variable c;
        std::unique_lock lock(m, std::defer_lock);
        c.wait(lock);
      },
      "coir: a condition_variable was waited for with a lock that is not held");
}

TEST_F(sync_death, a_semaphore_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        auto s = std::make_unique<counting_semaphore<>>(0);
        while_somebody_waits([&s] { s->acquire(); }, [&] { s.reset(); });
      },
      "coir: a semaphore was destroyed while somebody waited for it");
}

TEST_F(sync_death, permits_below_zero_and_above_the_maximum) {
  EXPECT_DEATH(counting_semaphore<5> s(-1), "coir: a semaphore was made with -1 permits");
  EXPECT_DEATH(counting_semaphore<5> s(6), "coir: a semaphore was made with 6 permits");
  EXPECT_DEATH(
      {
        counting_semaphore<5> s(4);
        s.release(2);
      },
      "coir: 2 permits were released to a semaphore that has 4 of at most 5");
  EXPECT_DEATH(
      {
        counting_semaphore<5> s(4);
        s.release(-1);
      },
      "coir: -1 permits were released");
  EXPECT_DEATH(
      {
        counting_semaphore<5> s(4);
        s.acquire(6);
      },
      "coir: 6 permits were asked of a semaphore that has at most 5");
  EXPECT_DEATH(
      {
        counting_semaphore<5> s(4);
        s.acquire(-3);
      },
      "coir: -3 permits were asked");
  EXPECT_DEATH(
      {
        binary_semaphore s(1);
        s.release();
      },
      "coir: 1 permits were released");
}

TEST_F(sync_death, a_channel_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        auto ch = std::make_unique<channel<int>>();
        while_somebody_waits([&ch] { ch->pop(); }, [&] { ch.reset(); });
      },
      "coir: a channel was destroyed while somebody waited for it");
  EXPECT_DEATH(
      {
        auto ch = std::make_unique<channel<int>>();
        while_somebody_waits([&ch] { ch->push(1); }, [&] { ch.reset(); });
      },
      "coir: a channel was destroyed while somebody waited for it");
  EXPECT_DEATH(
      {
        auto ch = std::make_unique<channel<int>>();
        channel<int> other;
        while_somebody_waits([&] { select(on_pop(other, [](auto) {}), on_pop(*ch, [](auto) {})); },
                             [&] { ch.reset(); });
      },
      "coir: a channel was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_work_queue_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        auto q = std::make_unique<work_queue<int>>();
        while_somebody_waits([&q] { q->get(); }, [&] { q.reset(); });
      },
      "coir: a work_queue was destroyed while somebody waited for it");
}

TEST_F(sync_death, work_said_to_be_done_more_often_than_it_was_put) {
  EXPECT_DEATH(
      {
        work_queue<int> q;
        q.put(1);
        q.task_done();
        q.task_done();
      },
      "coir: task_done was called more often than items were put");
}

}  // namespace
}  // namespace coir::testing
