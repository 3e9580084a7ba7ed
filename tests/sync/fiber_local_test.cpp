#include <coir/sched/cancelled.hpp>
#include <coir/sched/fiber_local.hpp>
#include <coir/sync/event.hpp>

#include <memory>
#include <string>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using fiber_local_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, fiber_local_test, worker_counts(), name_of);

TEST_P(fiber_local_test, each_fiber_and_thread_has_its_own_wherever_it_runs) {
  fiber_local<int> plain;
  fiber_local<std::string> made([] { return std::string("made 0"); });
  EXPECT_EQ(*plain, 0);
  *plain = -1;
  std::vector<std::function<void()>> all;
  for (int i = 1; i <= 8; ++i)
    all.push_back([&, i] {
      EXPECT_EQ(*plain, 0);
      EXPECT_EQ(made->size(), 6U);
      for (int n = 0; n < 50; ++n) {
        *plain += i;
        this_fiber::yield();
      }
      EXPECT_EQ(plain.get(), 50 * i);
    });
  in_any_mix(rt(), all);
  EXPECT_EQ(*plain, -1);
  plain.reset();
  EXPECT_EQ(*plain, 0);
  plain.reset();
}

struct notes_its_end {
  std::vector<int>* order = nullptr;
  int number = 0;
  ~notes_its_end() {
    if (order != nullptr) order->push_back(number);
  }
};

TEST_P(fiber_local_test,
       values_go_with_the_fiber_the_latest_first_before_anybody_learns_of_its_end) {
  std::vector<int> order;
  fiber_local<notes_its_end> a, b, c;
  on_fiber([&] {
    auto t = spawn([&] {
      for (auto* l : {&b, &a, &c}) {
        static int n = 0;
        (*l)->number = n++ % 3;
        (*l)->order = &order;
      }
    });
    t.get();
    EXPECT_EQ(order, (std::vector{2, 1, 0}));
    order.clear();
    auto late = spawn([&] {
      (*a).order = &order;
      this_fiber::sleep_for(1h);
    });
    wait_until_parked(late);
    late.cancel();
    late.wait();
    EXPECT_EQ(order.size(), 1U) << "cancelled, too";
    order.clear();
  });
  std::thread([&] { a->order = &order; }).join();
  EXPECT_EQ(order.size(), 1U) << "a thread's, at its end";
}

TEST_P(fiber_local_test, a_destructor_may_wait_and_use_others) {
  static fiber_local<int> other;
  struct waits {
    bool armed = false;
    ~waits() {
      if (!armed) return;
      this_fiber::sleep_for(100us);
      EXPECT_EQ(*other, 0);
      *other = 3;
    }
  };
  fiber_local<waits> local;
  on_fiber([&] {
    for (int i = 0; i < 20; ++i) {
      auto t = spawn([&] { local->armed = true; });
      t.get();
    }
  });
}

TEST_P(fiber_local_test,
       one_that_goes_first_leaves_its_values_to_the_fiber_and_its_place_to_another) {
  on_fiber([] {
    auto kept = std::make_shared<int>(1);
    auto first = std::make_unique<fiber_local<std::shared_ptr<int>>>();
    **first = kept;
    first.reset();
    EXPECT_EQ(kept.use_count(), 2);
    fiber_local<std::shared_ptr<int>> second;
    EXPECT_EQ(*second, nullptr) << "the value of another";
    EXPECT_LE(kept.use_count(), 2);
  });
}

TEST_P(fiber_local_test, a_factory_that_throws_makes_nothing) {
  on_fiber([] {
    int calls = 0;
    fiber_local<int> local([&] { return ++calls == 1 ? throw 5 : calls; });
    EXPECT_THROW(local.get(), int);
    EXPECT_EQ(local.get(), 2);
    EXPECT_EQ(local.get(), 2);
  });
}

}  // namespace
}  // namespace coir::testing
