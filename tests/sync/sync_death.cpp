// Misuse of the primitives stops the process with a message, in every build type (F88, F89).
#include <coir/sched/guards.hpp>
#include <coir/sync/barrier.hpp>
#include <coir/sync/call_once.hpp>
#include <coir/sync/channel.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/condition_variable_any.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/latch.hpp>
#include <coir/sync/mutex.hpp>
#include <coir/sync/notifier.hpp>
#include <coir/sync/recursive_mutex.hpp>
#include <coir/sync/select.hpp>
#include <coir/sync/shared_mutex.hpp>
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
        while_somebody_waits([&e] { e->wait(); }, [&] { std::destroy_at(e.get()); });
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
            [&] { std::destroy_at(c.get()); });
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
        while_somebody_waits([&s] { s->acquire(); }, [&] { std::destroy_at(s.get()); });
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
        while_somebody_waits([&ch] { ch->pop(); }, [&] { std::destroy_at(ch.get()); });
      },
      "coir: a channel was destroyed while somebody waited for it");
  EXPECT_DEATH(
      {
        auto ch = std::make_unique<channel<int>>();
        while_somebody_waits([&ch] { ch->push(1); }, [&] { std::destroy_at(ch.get()); });
      },
      "coir: a channel was destroyed while somebody waited for it");
  EXPECT_DEATH(
      {
        auto ch = std::make_unique<channel<int>>();
        channel<int> other;
        while_somebody_waits([&] { select(on_pop(other, [](auto) {}), on_pop(*ch, [](auto) {})); },
                             [&] { std::destroy_at(ch.get()); });
      },
      "coir: a channel was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_work_queue_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        auto q = std::make_unique<work_queue<int>>();
        while_somebody_waits([&q] { q->get(); }, [&] { std::destroy_at(q.get()); });
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

TEST_F(sync_death, a_recursive_mutex_unlocked_too_often_by_a_stranger_or_destroyed_while_held) {
  EXPECT_DEATH(
      {
        recursive_mutex m;
        m.lock();
        m.lock();
        m.unlock();
        m.unlock();
        m.unlock();
      },
      "coir: a recursive_mutex was unlocked by fiber 0, and nobody holds it");
  EXPECT_DEATH(
      {
        recursive_mutex m;
        m.lock();
        auto r = make_runtime(2);
        r->block_on([&] { m.unlock(); });
      },
      "coir: a recursive_mutex was unlocked by fiber [1-9][0-9]*, and another holds it");
  EXPECT_DEATH(
      {
        recursive_mutex m;
        m.lock();
      },
      "coir: a recursive_mutex was destroyed while fiber 0 held it");
}

TEST_F(sync_death, a_shared_mutex_unlocked_in_a_way_in_which_it_is_not_held) {
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.unlock();
      },
      "coir: a shared_mutex was unlocked by fiber 0, and nobody holds it");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock_shared();
        m.unlock();
      },
      "coir: a shared_mutex was unlocked by fiber 0, and it is held shared");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock();
        make_runtime(2)->block_on([&] { m.unlock(); });
      },
      "coir: a shared_mutex was unlocked by fiber [1-9][0-9]*, and another holds it");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock();
        m.unlock_shared();
      },
      "coir: a shared_mutex was unlocked as shared by fiber 0, and nobody holds it so");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock_shared();
        m.unlock_and_lock_shared();
      },
      "coir: a shared_mutex was made shared by fiber 0, which does not hold it");
}

TEST_F(sync_death, a_shared_mutex_locked_by_who_holds_it_or_destroyed_while_held) {
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock();
        m.lock_shared();
      },
      "coir: a shared_mutex was locked again by fiber 0, which holds it");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock();
        static_cast<void>(m.try_lock_for(1ms));
      },
      "coir: a shared_mutex was locked again");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock();
      },
      "coir: a shared_mutex was destroyed while fiber 0 held it");
  EXPECT_DEATH(
      {
        shared_mutex m;
        m.lock_shared();
      },
      "coir: a shared_mutex was destroyed while 1 readers held it");
}

TEST_F(sync_death, a_latch_counted_below_zero_or_destroyed_with_waiters) {
  EXPECT_DEATH(latch l(-1), "coir: a latch was made for -1 arrivals");
  EXPECT_DEATH(
      {
        latch l(2);
        l.count_down(3);
      },
      "coir: a latch was counted down by 3, and its count was 2");
  EXPECT_DEATH(
      {
        latch l(2);
        l.count_down(-1);
      },
      "coir: a latch was counted down by -1");
  EXPECT_DEATH(
      {
        auto l = std::make_unique<latch>(1);
        while_somebody_waits([&l] { l->wait(); }, [&] { std::destroy_at(l.get()); });
      },
      "coir: a latch was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_barrier_with_too_many_arrivals_or_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        barrier<> b(2);
        static_cast<void>(b.arrive(3));
      },
      "coir: 3 arrivals were made at a barrier that waits for 2");
  EXPECT_DEATH(
      {
        barrier<> b(2);
        static_cast<void>(b.arrive(0));
      },
      "coir: 0 arrivals were made");
  EXPECT_DEATH(
      {
        barrier<> b(1);
        b.arrive_and_drop();
        b.arrive_and_wait();
      },
      "coir: an arrival was made at a barrier that waits for nobody any more");
  EXPECT_DEATH(
      {
        auto b = std::make_unique<barrier<>>(2);
        while_somebody_waits([&b] { b->arrive_and_wait(); }, [&] { std::destroy_at(b.get()); });
      },
      "coir: a barrier was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_notifier_a_condition_variable_any_and_a_once_flag_destroyed_with_waiters) {
  EXPECT_DEATH(
      {
        auto n = std::make_unique<notifier>();
        while_somebody_waits([&n] { n->wait(); }, [&] { std::destroy_at(n.get()); });
      },
      "coir: a notifier was destroyed while somebody waited for it");
  EXPECT_DEATH(
      {
        mutex m;
        auto c = std::make_unique<condition_variable_any>();
        while_somebody_waits(
            [&] {
              std::unique_lock lock(m);
              c->wait(lock);
            },
            [&] { std::destroy_at(c.get()); });
      },
      "coir: a condition_variable_any was destroyed while somebody waited for it");
  EXPECT_DEATH(
      {
        auto f = std::make_unique<once_flag>();
        event begun;
        auto r = make_runtime(2);
        auto runs = r->spawn([&] {
          call_once(*f, [&] {
            begun.set();
            this_fiber::sleep_for(1h);
          });
        });
        begun.wait();
        while_somebody_waits([&f] { call_once(*f, [] {}); }, [&] { std::destroy_at(f.get()); });
      },
      "coir: a once_flag was destroyed while somebody waited for it");
}

TEST_F(sync_death, a_call_once_out_of_its_own_function) {
  EXPECT_DEATH(
      {
        once_flag f;
        call_once(f, [&] { call_once(f, [] {}); });
      },
      "coir: call_once was called out of its own function by fiber 0");
}

TEST_F(sync_death, a_blocking_call_in_a_no_suspend_scope) {
  const auto on_a_fiber = [](auto block) {
    make_runtime(1)->block_on([&] {
      const no_suspend_scope still;
      block();
    });
  };
  EXPECT_DEATH(on_a_fiber([] { this_fiber::yield(); }),
               "coir: fiber [1-9][0-9]* made a blocking call in a no_suspend_scope");
  EXPECT_DEATH(on_a_fiber([] { this_fiber::sleep_for(1ms); }), "no_suspend_scope");
  EXPECT_DEATH(on_a_fiber([] {
                 mutex m;
                 m.lock();  // though nobody has it
               }),
               "no_suspend_scope");
  EXPECT_DEATH(on_a_fiber([] { auto t = spawn([] {}); }), "no_suspend_scope") << "~task joins";
  EXPECT_DEATH(
      {
        no_suspend_scope outer;
        { no_suspend_scope inner; }
        event e;
        e.wait();
      },
      "coir: fiber 0 made a blocking call in a no_suspend_scope");
}

}  // namespace
}  // namespace coir::testing
