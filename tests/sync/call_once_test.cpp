#include <coir/sched/cancelled.hpp>
#include <coir/sync/call_once.hpp>
#include <coir/sync/event.hpp>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using call_once_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, call_once_test, worker_counts(), name_of);

constinit once_flag made_before_main;

TEST_P(call_once_test, one_calls_and_all_see_what_it_did_in_any_mix) {
  for (int round = 0; round < 30; ++round) {
    once_flag flag;
    int plain = 0;
    std::atomic<int> calls{0};
    in_any_mix(rt(), std::vector<std::function<void()>>(6, [&] {
                 call_once(
                     flag,
                     [&](int value) {
                       ++calls;
                       this_fiber::yield();
                       plain = value;
                     },
                     7);
                 EXPECT_EQ(plain, 7);
               }));
    EXPECT_EQ(calls.load(), 1);
  }
  call_once(made_before_main, [] {});
}

TEST_P(call_once_test, an_exception_goes_to_its_caller_and_the_next_one_tries) {
  on_fiber([] {
    once_flag flag;
    event go;
    int tries = 0;
    std::vector<task<bool>> all;
    for (int i = 0; i < 5; ++i) {
      all.push_back(spawn([&] {
        try {
          call_once(flag, [&] {
            go.wait();
            if (++tries < 3) throw tries;
          });
          return true;
        } catch (int) {
          return false;
        }
      }));
      wait_until_parked(all.back());
    }
    go.set();
    int succeeded = 0;
    for (auto& t : all) succeeded += t.get();
    EXPECT_EQ(succeeded, 3);
    EXPECT_EQ(tries, 3);
    call_once(flag, [] { FAIL() << "it has been done"; });
  });
}

TEST_P(call_once_test, a_cancelled_caller_hands_the_turn_on_and_a_cancelled_waiter_takes_none) {
  on_fiber([] {
    once_flag flag;
    event never_set;
    auto first = spawn([&] { call_once(flag, [&] { never_set.wait(); }); });
    wait_until_parked(first);
    auto second = spawn([&] { call_once(flag, [] { FAIL(); }); });
    wait_until_parked(second);
    int ran = 0;
    auto third = spawn([&] { call_once(flag, [&] { ++ran; }); });
    wait_until_parked(third);
    second.cancel();
    second.wait();
    EXPECT_TRUE(second.cancelled());
    first.cancel();
    EXPECT_THROW(first.get(), cancelled);
    EXPECT_TRUE(third.wait_for(5s)) << "the turn was lost";
    EXPECT_EQ(ran, 1);
  });
}

TEST_P(call_once_test, once_done_it_is_no_blocking_call) {
  on_fiber([] {
    once_flag flag;
    call_once(flag, [] {});
    auto t = spawn_begun([&] {
      until_cancel_is_pending();
      call_once(flag, [] {});
      return 1;
    });
    t.cancel();
    EXPECT_EQ(t.get(), 1);
  });
}

}  // namespace
}  // namespace coir::testing
