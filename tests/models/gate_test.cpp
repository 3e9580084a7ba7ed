// The gate and the spin lock, one step at a time, and against a sequential model.
#include "sched/gate.hpp"

#include <gtest/gtest.h>
#include <coir/sched/spin_lock.hpp>
#include <thread>

#include "stress.hpp"

namespace {

using namespace coir::sched;

class gate_test : public stress::with_both_fences {};

INSTANTIATE_TEST_SUITE_P(fences, gate_test, testing::Bool(), stress::name_of_fences);

TEST_P(gate_test, the_owner_comes_and_goes_alone) {
  gate door;
  for (int round = 0; round < 3; ++round) {
    door.enter();
    door.leave();
  }
}

TEST_P(gate_test, a_thief_enters_while_the_owner_is_outside) {
  gate door;
  ASSERT_EQ(door.try_break_in(), break_in::entered);
  door.break_out();
  door.enter();
  door.leave();
  ASSERT_EQ(door.try_break_in(), break_in::entered);
  door.break_out();
}

TEST_P(gate_test, a_thief_gives_up_while_the_owner_is_inside) {
  gate door;
  door.enter();
  EXPECT_EQ(door.try_break_in(3), break_in::lost);
  EXPECT_EQ(door.try_break_in(0), break_in::lost);
  door.leave();
  door.enter();  // who has given up does not keep the owner outside
  door.leave();
}

TEST_P(gate_test, a_second_thief_gives_up_at_once) {
  gate door;
  ASSERT_EQ(door.try_break_in(), break_in::entered);
  EXPECT_EQ(door.try_break_in(), break_in::lost);
  door.break_out();
}

TEST_P(gate_test, the_owner_waits_until_the_thief_has_left) {
  gate door;
  int inside = 0;
  ASSERT_EQ(door.try_break_in(), break_in::entered);
  std::thread owner([&] {
    door.enter();
    inside = 2;
    door.leave();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(inside, 0);
  inside = 1;
  door.break_out();
  owner.join();
  EXPECT_EQ(inside, 2);
}

TEST_P(gate_test, a_patient_thief_enters_when_the_owner_leaves) {
  gate door;
  door.enter();
  std::atomic<break_in> how{break_in::lost};
  std::thread thief([&] {
    how = door.try_break_in(~0u);
    door.break_out();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  door.leave();
  thief.join();
  EXPECT_EQ(how, break_in::entered);
}

TEST_P(gate_test, random_calls_agree_with_a_sequential_model) {
  stress::random_source random(1);
  gate door;
  enum { nobody, owner, thief } inside = nobody;
  for (int step = 0; step < 20'000; ++step) {
    switch (random.below(4)) {
      case 0:
        if (inside == nobody) door.enter(), inside = owner;
        break;
      case 1:
        if (inside == owner) door.leave(), inside = nobody;
        break;
      case 2:
        ASSERT_EQ(door.try_break_in(0), inside == nobody ? break_in::entered : break_in::lost);
        if (inside == nobody) inside = thief;
        break;
      default:
        if (inside == thief) door.break_out(), inside = nobody;
    }
  }
}

TEST(spin_lock_test, is_held_by_one) {
  spin_lock lock;
  lock.lock();
  EXPECT_FALSE(lock.try_lock());
  lock.unlock();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST(spin_lock_test, may_be_released_by_another_thread) {
  spin_lock lock;
  lock.lock();
  std::thread([&] { lock.unlock(); }).join();
  lock.lock();
  lock.unlock();
}

TEST(spin_lock_test, guards_what_it_holds) {
  spin_lock lock;
  long count = 0;
  auto const add = [&] {
    for (int n = 0; n < 50'000; ++n) {
      lock.lock();
      ++count;
      lock.unlock();
    }
  };
  std::thread first(add), second(add), third(add);
  first.join(), second.join(), third.join();
  EXPECT_EQ(count, 150'000);
}

}  // namespace
