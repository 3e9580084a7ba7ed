// F35: how long a call may take, said in every type and at every extreme. The past is at once, too
// long is never, and a NaN is a bad argument; nothing overflows on the way.
#include <coir/sched/timeout.hpp>
#include <coir/sched/timer.hpp>
#include <coir/sched/wait.hpp>
#include <coir/sync/barrier.hpp>
#include <coir/sync/condition_variable.hpp>
#include <coir/sync/condition_variable_any.hpp>
#include <coir/sync/counting_semaphore.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/latch.hpp>
#include <coir/sync/notifier.hpp>
#include <coir/sync/promise.hpp>
#include <coir/sync/recursive_mutex.hpp>
#include <coir/sync/select.hpp>
#include <coir/sync/shared_mutex.hpp>
#include <coir/sync/watch.hpp>
#include <coir/sync/work_queue.hpp>

#include <functional>
#include <limits>
#include <mutex>
#include <ratio>
#include <stdexcept>

#include "../sync/waiting.hpp"

namespace coir::testing {
namespace {

using seconds_d = std::chrono::duration<double>;
using seconds_f = std::chrono::duration<float>;
using years = std::chrono::duration<std::int64_t, std::ratio<31556952>>;
using thirds = std::chrono::duration<std::int64_t, std::ratio<1, 3>>;

// Calls f with each of them.
template <class F>
void for_each_of_the_past(F&& f) {
  f(0s);
  f(-1s);
  f(std::chrono::nanoseconds::min());
  f(std::chrono::hours::min());
  f(years::min());
  f(thirds::min());
  f(std::chrono::duration<int, std::pico>(-1));
  f(seconds_d(-std::numeric_limits<double>::infinity()));
  f(seconds_d(-1e300));
  f(seconds_f(std::numeric_limits<float>::lowest()));
}
template <class F>
void for_each_that_is_too_long(F&& f) {
  f(std::chrono::nanoseconds::max());
  f(std::chrono::microseconds::max());
  f(std::chrono::hours::max());
  f(years::max());
  f(years(292));
  f(thirds::max());
  f(thirds(20'000'000'000));  // 211 years; as nanoseconds, before it is divided by three, too many
  f(seconds_d(std::numeric_limits<double>::infinity()));
  f(seconds_d(1e300));
  f(seconds_d(9223372036.8));
  f(seconds_f(9223371776.0F));  // fits, and as nanoseconds in a float it does not
  f(seconds_f(std::numeric_limits<float>::max()));
}

// Something that each call waits for in vain.
struct world {
  world() {
    pushed.push(1);
    queue.put(1);
    event holds;
    keeper = spawn([&] {
      const std::scoped_lock all(held, held_again, shared);
      holds.set();
      done.wait();
    });
    holds.wait();
  }
  ~world() {
    done.set();
    keeper.wait();
  }
  event done, never_set;
  mutex held, free;
  recursive_mutex held_again;
  shared_mutex shared;
  counting_semaphore<> none{0};
  channel<int> empty, pushed{1};
  work_queue<int> queue{1}, nothing;
  latch one{1};
  barrier<> two{2};
  notifier silent;
  promise<int> unset;
  future<int> later = unset.get_future();
  condition_variable condition;
  condition_variable_any any;
  watch<int> value{1};
  task<void> keeper;  // of the locks that are held
};

constexpr int calls = 21;

// Whether what the call waits for came.
template <class D>
bool call(world& w, int which, D d) {
  switch (which) {
    case 0:
      return this_fiber::sleep_for(d), false;
    case 1:
      return w.never_set.wait_for(d);
    case 2:
      return w.held.try_lock_for(d);
    case 3:
      return w.held_again.try_lock_for(d);
    case 4:
      return w.shared.try_lock_for(d);
    case 5:
      return w.shared.try_lock_shared_for(d);
    case 6:
      return w.none.try_acquire_for(d);
    case 7:
      return w.empty.pop_for(d).has_value();
    case 8:
      return w.pushed.push_for(2, d);
    case 9:
      return w.queue.put_for(2, d);
    case 10:
      return w.nothing.get_for(d).has_value();
    case 11:
      return w.one.wait_for(d);
    case 12:
      return w.two.arrive_and_wait_for(d).has_value();
    case 13:
      return w.silent.wait_for(d);
    case 14:
      return w.later.wait_for(d) == std::future_status::ready;
    case 15: {
      std::unique_lock lock(w.free);
      return w.condition.wait_for(lock, d) == std::cv_status::no_timeout;
    }
    case 16: {
      std::unique_lock lock(w.free);
      return w.any.wait_for(lock, d) == std::cv_status::no_timeout;
    }
    case 17: {
      auto seen = w.value.subscribe();
      seen.get();
      return seen.changed_for(d);
    }
    case 18:
      return select(on_pop(w.empty, [](auto&&) {}), on_timeout(d, [] {})) == 0;
    case 19:
      try {
        return with_timeout(d, [&] { return w.never_set.wait(), true; });
      } catch (const timed_out&) {
        return false;
      }
    default: {
      std::vector<task<void>> one;
      one.push_back(spawn([&] { w.done.wait(); }));
      return !wait(one, d).done.empty();
    }
  }
}

class duration_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, duration_test, every_setting(), name_of);

TEST_P(duration_test, what_is_over_already_is_not_waited_for) {
  on_fiber([] {
    world w;
    for (int which = 0; which < calls; ++which)
      for_each_of_the_past([&](auto d) { EXPECT_FALSE(call(w, which, d)) << "call " << which; });
  });
}

TEST_P(duration_test, too_long_is_never) {
  on_fiber([] {
    world w;
    for (int which = 0; which < calls; ++which) {
      std::vector<task<void>> all;
      for_each_that_is_too_long(
          [&](auto d) { all.push_back(spawn([&w, which, d] { call(w, which, d); })); });
      if (which == 12) {  // two parties at one barrier: they meet
        for (auto& t : all) t.cancel();
        continue;
      }
      for (auto& t : all) wait_until_parked(t);
      this_fiber::sleep_for(1ms);
      for (std::size_t i = 0; i < all.size(); ++i)
        EXPECT_FALSE(all[i].done()) << "call " << which << ", duration " << i;
      for (auto& t : all) t.cancel();
      for (auto& t : all) EXPECT_THROW(t.get(), cancelled);
    }
  });
}

TEST_P(duration_test, not_a_number_is_a_bad_argument_and_has_no_effect) {
  on_fiber([] {
    world w;
    const std::size_t fibers = runtime::current().fibers().size();
    for (int which = 0; which + 1 < calls; ++which) {
      EXPECT_THROW(call(w, which, seconds_d(std::nan(""))), std::invalid_argument) << which;
      EXPECT_THROW(call(w, which, seconds_f(std::nanf(""))), std::invalid_argument) << which;
    }
    EXPECT_THROW(call_later(seconds_d(std::nan("")), [] {}), std::invalid_argument);
    EXPECT_THROW(interval(seconds_d(std::nan(""))), std::invalid_argument);
    EXPECT_EQ(runtime::current().fibers().size(), fibers);
    EXPECT_EQ(w.two.waiting(), 0U);
    EXPECT_TRUE(w.free.try_lock());
    w.free.unlock();
  });
}

TEST_P(duration_test, on_threads_too) {
  rt();
  event e;
  std::vector<std::thread> crowd;
  std::atomic<int> ended{0};
  for_each_that_is_too_long([&](auto d) {
    crowd.emplace_back([&e, &ended, d] {
      EXPECT_TRUE(e.wait_for(d)) << "it came in time";
      ++ended;
    });
  });
  for_each_of_the_past([](auto d) {
    event none;
    EXPECT_FALSE(none.wait_for(d));
    this_fiber::sleep_for(d);
  });
  std::this_thread::sleep_for(1ms);
  EXPECT_EQ(ended, 0);
  e.set();
  for (auto& t : crowd) t.join();
}

TEST_P(duration_test, calls_that_are_put_off) {
  std::atomic<int> late{0}, at_once{0};
  on_fiber([&] {
    std::vector<timer> timers;
    for_each_that_is_too_long([&](auto d) { timers.push_back(call_later(d, [&] { ++late; })); });
    int n = 0;
    for_each_of_the_past([&](auto d) { call_later(d, [&] { ++at_once; }), ++n; });
    EXPECT_TRUE(eventually_on_fiber([&] { return at_once == n; }));
    timers.push_back(call_at(clock::time_point::max(), [&] { ++late; }));
    call_at(clock::time_point::min(), [&] { ++at_once; });
    EXPECT_TRUE(eventually_on_fiber([&] { return at_once == n + 1; }));
    for (timer& t : timers) EXPECT_TRUE(t.cancel()) << "it has not run";
  });
  EXPECT_EQ(late, 0);
}

TEST_P(duration_test, intervals_and_timeouts_of_every_length) {
  on_fiber([] {
    std::vector<task<void>> all;
    for_each_that_is_too_long([&](auto d) {
      all.push_back(spawn([d] {
        interval every(d);
        every.tick();
      }));
    });
    all.push_back(spawn([] {
      with_deadline(clock::time_point::min(), [](timeout_scope& s) {
        EXPECT_TRUE(s.expired());
        EXPECT_THROW(this_fiber::yield(), cancelled);
      });
      with_timeout(0s, [] {});
      with_deadline(clock::time_point::max(), [](timeout_scope& s) {
        s.reschedule(clock::now() + 1h);
        s.reschedule(clock::time_point::max());
        EXPECT_FALSE(s.expired());
        event().wait();
      });
    }));
    for (auto& t : all) wait_until_parked(t);
    this_fiber::sleep_for(1ms);
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_FALSE(all[i].done()) << i;
    for (auto& t : all) t.cancel();
    for (auto& t : all) EXPECT_THROW(t.get(), cancelled);
    for_each_of_the_past([](auto d) { EXPECT_THROW(interval{d}, std::invalid_argument); });
  });
}

TEST_P(duration_test, limits_of_a_shutdown) {
  auto parked = rt().spawn([] { event().wait(); });
  EXPECT_THROW(rt().shutdown(seconds_d(std::nan(""))), std::invalid_argument);
  EXPECT_FALSE(parked.done()) << "nothing has been asked to end";
  EXPECT_TRUE(rt().shutdown(std::chrono::hours::max()));
  EXPECT_TRUE(parked.cancelled());
  for_each_of_the_past([&](auto d) { EXPECT_TRUE(rt().shutdown(d)) << "it has ended before"; });
}

}  // namespace
}  // namespace coir::testing
