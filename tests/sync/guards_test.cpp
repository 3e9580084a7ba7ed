#include <coir/sched/cancelled.hpp>
#include <coir/sched/guards.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <optional>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using guards_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, guards_test, worker_counts(), name_of);

[[gnu::noinline]] std::thread::id thread_now() { return std::this_thread::get_id(); }

TEST_P(guards_test, a_pinned_fiber_stays_on_its_worker_across_blocking_calls) {
  std::vector<task<void>> all;
  for (int i = 0; i < 12; ++i)
    all.push_back(rt().spawn([&, i] {
      for (int round = 0; round < 20; ++round) {
        const pin_guard pin;
        std::optional<pin_guard> nested(std::in_place), second(std::in_place);
        const auto here = thread_now();
        const unsigned worker = testing::this_worker();
        nested.reset();  // in any order
        for (int n = 0; n < 5; ++n) {
          if ((n + i) % 2 == 0)
            this_fiber::yield();
          else
            this_fiber::sleep_for(20us);
          EXPECT_EQ(thread_now(), here);
          EXPECT_EQ(testing::this_worker(), worker);
        }
        second.reset();
        this_fiber::sleep_for(20us);
        EXPECT_EQ(thread_now(), here);
      }
    }));
  for (auto& t : all) t.get();
  const pin_guard on_a_thread;
}

TEST_P(guards_test, a_fiber_that_was_spawned_pinned_stays_so_after_a_guard) {
  spawn_options pinned;
  pinned.pinned = true;
  auto t = rt().spawn(pinned, [] {
    { const pin_guard pin; }
    const auto here = thread_now();
    for (int i = 0; i < 50; ++i) {
      this_fiber::sleep_for(10us);
      EXPECT_EQ(thread_now(), here);
    }
  });
  t.get();
}

TEST_P(guards_test, a_no_suspend_scope_lets_through_what_does_not_block) {
  const auto check = [] {
    mutex m;
    event e;
    {
      const no_suspend_scope still;
      const no_suspend_scope nested;
      EXPECT_TRUE(m.try_lock());
      m.unlock();
      e.set();
    }
    e.wait();
    m.lock();
    m.unlock();
    this_fiber::yield();
  };
  on_fiber([&] {
    check();
    const no_suspend_scope still;
    spawn(check).detach();  // its own fiber, outside of the scope
  });
  check();
}

TEST_P(guards_test, a_request_to_cancel_is_not_lost_in_a_no_suspend_scope) {
  on_fiber([] {
    auto t = spawn_begun([] {
      until_cancel_is_pending();
      {
        const no_suspend_scope still;
        EXPECT_TRUE(this_fiber::cancel_requested());
      }
      this_fiber::yield();
      FAIL();
    });
    t.cancel();
    t.wait();
    EXPECT_TRUE(t.cancelled());
  });
}

}  // namespace
}  // namespace coir::testing
