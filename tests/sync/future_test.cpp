#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/promise.hpp>

#include <memory>
#include <string>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using future_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, future_test, worker_counts(), name_of);

template <class F>
std::errc code_of(F&& f) {
  try {
    f();
  } catch (const std::future_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}
#define EXPECT_FUTURE_ERROR(expression, code)                \
  EXPECT_EQ(code_of([&] { static_cast<void>(expression); }), \
            static_cast<std::errc>(std::future_errc::code))

TEST_P(future_test, a_value_an_error_and_a_promise_that_goes_reach_who_waits_in_any_mix) {
  for (int round = 0; round < 30; ++round) {
    promise<std::string> value, error;
    auto broken = std::make_unique<promise<std::string>>();
    shared_future<std::string> a = value.get_future().share(), b = error.get_future(),
                               c = broken->get_future();
    const auto read = [&] {
      EXPECT_EQ(a.get(), "value");
      EXPECT_THROW(b.get(), std::out_of_range);
      EXPECT_FUTURE_ERROR(c.get(), broken_promise);
    };
    in_any_mix(rt(), {read, read, read, read, [&] {
                        value.set_value("value");
                        error.set_exception(std::make_exception_ptr(std::out_of_range("")));
                        broken.reset();
                      }});
  }
}

TEST_P(future_test, values_may_be_move_only_void_or_references) {
  promise<std::unique_ptr<int>> unique;
  promise<void> nothing;
  promise<int&> reference;
  int target = 1;
  auto u = unique.get_future();
  auto n = nothing.get_future();
  auto r = reference.get_future();
  unique.set_value(std::make_unique<int>(5));
  nothing.set_value();
  reference.set_value(target);
  EXPECT_EQ(*u.get(), 5);
  n.get();
  r.get() = 2;
  EXPECT_EQ(target, 2);
  promise<int&> again;
  shared_future<int&> s = again.get_future();
  EXPECT_TRUE(again.try_set_value(target));
  EXPECT_EQ(&s.get(), &target);
  promise<void> v;
  shared_future<void> sv = v.get_future();
  EXPECT_TRUE(v.try_set_value());
  sv.get();
  sv.get();
  EXPECT_EQ(make_ready_future(std::make_unique<int>(3)).get().operator*(), 3);
  make_ready_future().get();
  EXPECT_TRUE(make_ready_future(1).done());
}

TEST_P(future_test, promises_are_swapped_with_their_futures) {
  promise<int> a, b;
  auto of_a = a.get_future(), of_b = b.get_future();
  a.swap(b);
  a.set_value(1);
  std::swap(a, b);
  a.set_value(2);
  EXPECT_EQ(of_b.get(), 1);
  EXPECT_EQ(of_a.get(), 2);
  promise<void> nothing, moved = std::move(nothing);
  swap(nothing, moved);
  nothing.set_value();
  EXPECT_THROW(moved.set_value(), std::future_error) << "it has no state";
  int target = 0;
  promise<int&> c, d;
  auto of_c = c.get_future();
  c.swap(d);
  d.set_value(target);
  EXPECT_EQ(&of_c.get(), &target);
}

TEST_P(future_test, misuse_throws_stds_future_errors) {
  future<int> none;
  EXPECT_FALSE(none.valid());
  EXPECT_FALSE(none.done());
  EXPECT_FUTURE_ERROR(none.get(), no_state);
  EXPECT_FUTURE_ERROR(none.wait(), no_state);
  EXPECT_FUTURE_ERROR(none.cancel(), no_state);
  EXPECT_FUTURE_ERROR(shared_future<int>().get(), no_state);
  promise<int> p;
  future<int> f = p.get_future();
  EXPECT_FUTURE_ERROR(p.get_future(), future_already_retrieved);
  p.set_value(1);
  EXPECT_FUTURE_ERROR(p.set_value(2), promise_already_satisfied);
  EXPECT_FUTURE_ERROR(p.set_exception(nullptr), promise_already_satisfied);
  EXPECT_EQ(f.get(), 1);
  EXPECT_FALSE(f.valid()) << "get() takes the value";
  promise<int> moved = std::move(p);
  EXPECT_FUTURE_ERROR(p.set_value(1), no_state);
  EXPECT_FUTURE_ERROR(p.cancelled(), no_state);
  EXPECT_FUTURE_ERROR(moved.get_future(), future_already_retrieved);
  promise<int> replaced;
  future<int> left = replaced.get_future();
  replaced = promise<int>();
  EXPECT_FUTURE_ERROR(left.get(), broken_promise);
  swap(replaced, moved);
}

TEST_P(future_test, timed_waits_tell_whether_it_is_done) {
  const auto check = [] {
    promise<int> p;
    future<int> f = p.get_future();
    const auto start = clock::now();
    EXPECT_EQ(f.wait_for(2ms), std::future_status::timeout);
    EXPECT_GE(clock::now() - start, 2ms);
    EXPECT_EQ(f.wait_until(clock::now() - 1h), std::future_status::timeout);
    EXPECT_FALSE(f.done());
    p.set_value(4);
    EXPECT_EQ(f.wait_for(0ms), std::future_status::ready);
    EXPECT_EQ(f.wait_until(clock::time_point::min()), std::future_status::ready);
    EXPECT_TRUE(f.done());
    EXPECT_EQ(f.get(), 4);
  };
  check();
  on_fiber(check);
}

TEST_P(future_test, cancel_throws_at_who_waits_as_an_error_of_another_and_tells_the_promise) {
  on_fiber([] {
    promise<std::string> p;
    shared_future<std::string> f = p.get_future();
    auto waits = spawn([&] { f.get(); });
    wait_until_parked(waits);
    EXPECT_FALSE(p.cancelled());
    EXPECT_TRUE(f.cancel("why"));
    EXPECT_TRUE(p.cancelled());
    EXPECT_TRUE(f.done());
    EXPECT_FALSE(f.cancel());
    waits.wait();
    EXPECT_FALSE(waits.cancelled()) << "an error like any other";
    try {
      waits.get();
      FAIL();
    } catch (const cancelled& c) {
      EXPECT_EQ(c.reason(), "why");
      EXPECT_EQ(c.fiber(), fiber_id{});
    }
    std::string kept = "untouched, long enough to be on the heap";
    EXPECT_FALSE(p.try_set_value(std::move(kept)));
    EXPECT_EQ(kept, "untouched, long enough to be on the heap");
    EXPECT_FUTURE_ERROR(p.set_value(kept), promise_already_satisfied);
    EXPECT_FALSE(this_fiber::cancel_requested());
  });
}

TEST_P(future_test, try_set_value_leaves_its_argument_if_nobody_can_get_it) {
  promise<std::unique_ptr<int>> p;
  auto value = std::make_unique<int>(1);
  { auto dropped = p.get_future(); }
  EXPECT_FALSE(p.try_set_value(std::move(value)));
  ASSERT_NE(value, nullptr);
  promise<std::unique_ptr<int>> q;
  EXPECT_TRUE(q.try_set_value(std::move(value))) << "a future may still be asked for";
  EXPECT_EQ(value, nullptr);
  value = std::make_unique<int>(2);
  EXPECT_FALSE(q.try_set_value(std::move(value))) << "it has been set";
  EXPECT_NE(value, nullptr);
  EXPECT_EQ(*q.get_future().get(), 1);
  promise<int> r;
  shared_future<int> one = r.get_future();
  {
    shared_future<int> two = one;
    one = {};
    EXPECT_FALSE(one.valid());
  }
  EXPECT_FALSE(r.try_set_value(1)) << "both copies have gone";
  EXPECT_FALSE(r.try_set_exception(nullptr));
}

struct throws_when_copied {
  explicit throws_when_copied(int) {}
  throws_when_copied(const throws_when_copied&) { throw 3; }
};

TEST_P(future_test, a_value_that_cannot_be_made_leaves_the_promise_as_it_was) {
  promise<throws_when_copied> p;
  auto f = p.get_future();
  const throws_when_copied v(1);
  EXPECT_THROW(p.set_value(v), int);
  EXPECT_FALSE(f.done());
  p.set_exception(std::make_exception_ptr(7));
  EXPECT_THROW(static_cast<void>(f.get()), int);
}

TEST_P(future_test, functions_are_called_in_order_where_it_completes_and_at_once_if_it_has) {
  std::vector<std::string> unhandled;
  opts.on_unhandled = [&](std::exception_ptr, std::string_view) { unhandled.push_back("threw"); };
  on_fiber([] {
    promise<int> p;
    auto f = p.get_future();
    std::vector<int> order;
    const fiber_id here = this_fiber::id();
    for (int i = 0; i < 5; ++i)
      f.on_done([&, i] {
        EXPECT_EQ(this_fiber::id(), here);
        EXPECT_TRUE(f.done());
        order.push_back(i);
      });
    const auto removed = f.on_done([&] { order.push_back(100); });
    f.on_done([] { throw 1; });
    EXPECT_TRUE(f.remove_on_done(removed));
    EXPECT_FALSE(f.remove_on_done(removed));
    p.set_value(1);
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    f.on_done([&] { order.push_back(5); });
    EXPECT_EQ(order.back(), 5);
  });
  EXPECT_EQ(unhandled.size(), 1U);
}

TEST_P(future_test, functions_are_called_before_who_waits_is_woken) {
  on_fiber([] {
    promise<int> p;
    shared_future<int> f = p.get_future();
    auto waits = spawn([f] { return f.get(); });
    wait_until_parked(waits);
    bool called = false;
    f.on_done([&] {
      called = true;
      EXPECT_EQ(waits.state(), task_state::parked);
    });
    p.set_value(3);
    EXPECT_TRUE(called);
    EXPECT_EQ(waits.get(), 3);
  });
}

TEST_P(future_test, a_cancelled_get_leaves_the_future_and_its_value) {
  on_fiber([] {
    promise<int> p;
    future<int> f = p.get_future();
    auto doomed = spawn([&] { return f.get(); });
    wait_until_parked(doomed);
    doomed.cancel();
    EXPECT_THROW(doomed.get(), cancelled);
    EXPECT_TRUE(f.valid());
    p.set_value(8);
    auto done_already = spawn_begun([&] {
      until_cancel_is_pending();
      return f.get();  // what is done already returns
    });
    done_already.cancel();
    EXPECT_EQ(done_already.get(), 8);
  });
}

TEST_P(future_test, the_promise_may_be_destroyed_by_the_one_that_it_has_woken) {
  for (int round = 0; round < (sanitized ? 50 : 300); ++round) {
    auto p = std::make_unique<promise<int>>();
    auto t = rt().spawn([&, f = p->get_future()]() mutable {
      EXPECT_EQ(f.get(), 1);
      p.reset();
    });
    p->set_value(1);
    t.get();
  }
}

}  // namespace
}  // namespace coir::testing
