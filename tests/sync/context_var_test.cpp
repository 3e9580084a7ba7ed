#include <coir/sched/cancelled.hpp>
#include <coir/sched/context_var.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sync/async.hpp>

#include <memory>
#include <string>

#include "waiting.hpp"

namespace coir::testing {
namespace {

using context_var_test = runtime_test;
INSTANTIATE_TEST_SUITE_P(, context_var_test, worker_counts(), name_of);

TEST_P(context_var_test, whatever_a_fiber_starts_begins_with_a_copy) {
  context_var<std::string> name("default");
  context_var<int> number;
  on_fiber([&] {
    EXPECT_EQ(name.get(), "default");
    name.set("parent");
    number.set(1);
    auto child = spawn([&] {
      EXPECT_EQ(name.get(), "parent");
      EXPECT_EQ(number.get(), 1);
      name.set("child");
      this_fiber::yield();
      EXPECT_EQ(name.get(), "child");
      return async([&] { return name.get(); }).get();
    });
    name.set("later");
    EXPECT_EQ(child.get(), "child");
    EXPECT_EQ(name.get(), "later") << "a child changes its own copy";
    auto task = runtime::current().spawn([&] { return name.get() + std::to_string(number.get()); });
    EXPECT_EQ(task.get(), "later1");
  });
  EXPECT_EQ(on_fiber([&] { return name.get(); }), "default") << "not that of an ended fiber";
  name.set("thread");
  EXPECT_EQ(on_fiber([&] { return name.get(); }), "thread") << "a thread hands its own on";
  std::thread([&] { EXPECT_EQ(name.get(), "default"); }).join();
}

TEST_P(context_var_test, a_scoped_value_is_restored_also_when_others_were_set_meanwhile) {
  context_var<std::string> a("a"), b("b");
  const auto check = [&] {
    {
      auto restore = a.scoped("x");
      EXPECT_EQ(a.get(), "x");
      {
        auto inner = a.scoped("y");
        EXPECT_EQ(a.get(), "y");
      }
      EXPECT_EQ(a.get(), "x");
      b.set("kept");
      a.set("z");
    }
    EXPECT_EQ(a.get(), "a");
    EXPECT_EQ(b.get(), "kept");
    try {
      auto restore = a.scoped("x");
      throw 1;
    } catch (int) {}
    EXPECT_EQ(a.get(), "a");
  };
  on_fiber([&] {
    check();
    a.set("set");
    { auto restore = a.scoped("x"); }
    EXPECT_EQ(a.get(), "set");
  });
  std::thread(check).join();
}

TEST_P(context_var_test, a_child_keeps_what_its_parent_has_restored) {
  context_var<int> v(0);
  on_fiber([&] {
    task<int> child;
    {
      auto restore = v.scoped(7);
      child = spawn([&] {
        this_fiber::sleep_for(1ms);
        return v.get();
      });
    }
    EXPECT_EQ(v.get(), 0);
    EXPECT_EQ(child.get(), 7);
  });
}

TEST_P(context_var_test, values_live_as_long_as_somebody_has_them_and_many_sets_do_not_pile_up) {
  auto value = std::make_shared<int>(1);
  context_var<std::shared_ptr<int>> kept;
  context_var<int> one(0), two(0);
  on_fiber([&] {
    kept.set(value);
    for (int i = 0; i < 1000; ++i) {
      one.set(i);
      two.set(-i);
      auto restore = one.scoped(5);
      kept.set(value);
    }
    EXPECT_EQ(one.get(), 999);
    EXPECT_EQ(two.get(), -999);
    EXPECT_EQ(kept.get(), value);
    EXPECT_LE(value.use_count(), 50) << "hidden values pile up";
    kept.set(nullptr);
  });
  EXPECT_TRUE(eventually([&] { return value.use_count() == 1; }));
}

TEST_P(context_var_test, many_variables) {
  std::vector<std::unique_ptr<context_var<int>>> all;
  for (int i = 0; i < 100; ++i) all.push_back(std::make_unique<context_var<int>>(-1));
  on_fiber([&] {
    for (int round = 0; round < 3; ++round)
      for (int i = 0; i < 100; ++i) all[std::size_t(i)]->set(i + round);
    spawn([&] {
      for (int i = 0; i < 100; ++i) EXPECT_EQ(all[std::size_t(i)]->get(), i + 2);
    }).get();
  });
}

TEST_P(context_var_test, a_snapshot_goes_to_what_is_no_fiber_of_its_own) {
  context_var<int> v(0);
  std::unique_ptr<sched::context_snapshot> taken;
  on_fiber([&] {
    v.set(5);
    taken = std::make_unique<sched::context_snapshot>();
    v.set(6);
  });
  const auto check = [&] {
    {
      const sched::context_snapshot::installed here(*taken);
      EXPECT_EQ(v.get(), 5);
      v.set(7);
    }
    EXPECT_EQ(v.get(), 0);
  };
  on_fiber(check);
  std::thread(check).join();
  taken.reset();
  const sched::context_snapshot nothing;
  const sched::context_snapshot::installed still_nothing(nothing);
  EXPECT_EQ(v.get(), 0);
}

TEST_P(context_var_test, an_offloaded_function_begins_with_a_copy) {
  context_var<int> v(0);
  on_fiber([&] {
    EXPECT_EQ(offload([&] { return v.get(); }), 0);
    v.set(4);
    EXPECT_EQ(offload([&] {
                v.set(v.get() + 1);
                return v.get();
              }),
              5);
    EXPECT_EQ(v.get(), 4);
  });
  on_fiber([&] { EXPECT_EQ(offload([&] { return v.get(); }), 0) << "a thread kept it"; });
}

}  // namespace
}  // namespace coir::testing
