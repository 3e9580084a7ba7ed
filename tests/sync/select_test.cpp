#include <coir/sched/cancelled.hpp>
#include <coir/sync/select.hpp>

#include <array>
#include <cmath>

#include "payloads.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

const auto nothing = [](auto&&...) {};
const auto unreachable = [](auto&&...) { ADD_FAILURE() << "a case that could not be had was run"; };

class select_test : public runtime_test {
 protected:
  template <class F>
  void for_both_payloads(F&& f) {
    on_fiber([&] { f(int{}); });
    on_fiber([&] { f(heavy{}); });
    EXPECT_TRUE(eventually([] { return heavy::alive == 0; }))
        << "an item is left, or was destroyed twice";
  }
};
INSTANTIATE_TEST_SUITE_P(, select_test, every_setting(), name_of);

TEST_P(select_test, takes_the_case_that_is_ready_runs_its_function_and_gives_its_index) {
  for_both_payloads([]<class T>(T) {
    channel<T> a(1), b(1), c;
    b.push(T(4));
    int got = 0;
    EXPECT_EQ(select(on_pop(a, unreachable), on_pop(b, [&](std::optional<T> v) { got = *v; }),
                     on_push(c, T(1), unreachable), on_timeout(1h, unreachable)),
              1U);
    EXPECT_EQ(got, 4);
    EXPECT_EQ(select(on_pop(b, unreachable), on_push(a, T(5), [&] { got = 5; })), 1U);
    EXPECT_EQ(got, 5);
    EXPECT_EQ(a.pop(), T(5));
    a.close();
    EXPECT_EQ(
        select(on_pop(b, unreachable), on_pop(a, [&](std::optional<T> v) { got = v ? 1 : 6; })),
        1U);
    EXPECT_EQ(got, 6) << "a closed channel is ready, and gives none";
  });
}

TEST_P(select_test, waits_for_the_first_that_becomes_ready) {
  for_both_payloads([]<class T>(T) {
    channel<T> a, b(2), full(1), out;
    full.push(T(0));
    const auto start = [&] {
      auto t = spawn([&] {
        int got = -1;
        T item(9);
        const auto take = [&](std::optional<T> v) { got = v ? static_cast<int>(*v) : -2; };
        const std::size_t which =
            select(on_pop(a, take), on_pop(b, take), on_push(full, std::move(item), nothing),
                   on_push(out, T(8), nothing), on_timeout(1h, unreachable));
        const bool kept = static_cast<int>(item) == 9;
        EXPECT_TRUE(kept || which == 2) << "it is moved from only if it is taken";
        return std::pair(which, got);
      });
      wait_until_parked(t);
      return t;
    };
    using result = std::pair<std::size_t, int>;
    auto t = start();
    a.push(T(1));
    EXPECT_EQ(t.get(), result(0, 1));
    t = start();
    b.push(T(2));
    EXPECT_EQ(t.get(), result(1, 2));
    t = start();
    EXPECT_EQ(full.pop(), T(0));
    EXPECT_EQ(t.get(), result(2, -1));
    EXPECT_EQ(full.size(), 1U);
    t = start();
    EXPECT_EQ(out.pop(), T(8));
    EXPECT_EQ(t.get(), result(3, -1));
    t = start();
    b.close();
    EXPECT_EQ(t.get(), result(1, -2));
    // It has left all of them.
    EXPECT_FALSE(a.try_push(T(1)));
    EXPECT_EQ(out.try_pop(), std::nullopt);
  });
}

TEST_P(select_test, otherwise_never_waits_and_a_timeout_comes_in_time) {
  const auto check = []<class T>(T) {
    channel<T> a, b(1);
    int ran = 0;
    EXPECT_EQ(select(on_pop(a, unreachable), otherwise([&] { ++ran; }), on_pop(b, unreachable)),
              1U);
    EXPECT_EQ(select(on_timeout(1h, unreachable), otherwise([&] { ++ran; })), 1U);
    const auto begin = clock::now();
    EXPECT_EQ(select(on_pop(a, unreachable), on_timeout(1h, unreachable),
                     on_timeout(2ms, [&] { ++ran; })),
              2U);
    EXPECT_GE(clock::now() - begin, 2ms);
    EXPECT_EQ(select(on_timeout(clock::now() + 1ms, [&] { ++ran; })), 0U);
    EXPECT_EQ(ran, 4);
    b.push(T(3));
    EXPECT_EQ(select(on_timeout(-1h, unreachable), on_pop(b, nothing)), 1U) << "it is there";
    EXPECT_EQ(select(on_push(b, T(1), nothing), otherwise(unreachable)), 0U);
    EXPECT_EQ(b.pop(), T(1));
  };
  check(int{});
  check(heavy{});
  for_both_payloads(check);
}

// F86
TEST_P(select_test, without_a_case_is_refused_and_with_null_channels_only_waits_to_be_cancelled) {
  on_fiber([] {
    EXPECT_THROW(select(), std::invalid_argument);
    channel<int>* const none = nullptr;
    EXPECT_EQ(select(on_pop(none, unreachable), on_push(none, 3, unreachable), otherwise(nothing)),
              2U);
    EXPECT_EQ(select(on_pop(none, unreachable), on_timeout(1ms, nothing)), 1U);
    auto t = spawn([&] { select(on_pop(none, unreachable), on_push(none, 3, unreachable)); });
    wait_until_parked(t);
    EXPECT_FALSE(t.done());
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    channel<int> some(1);
    EXPECT_EQ(select(on_pop(none, unreachable), on_push(&some, 3, nothing)), 1U);
    EXPECT_EQ(select(on_pop(&some, nothing), on_pop(none, unreachable)), 0U);
  });
}

// F86
TEST_P(select_test, the_same_channel_twice_and_on_both_sides_never_meets_itself) {
  for_both_payloads([]<class T>(T) {
    channel<T> ch;
    EXPECT_EQ(select(on_push(ch, T(1), unreachable), on_pop(ch, unreachable), otherwise(nothing)),
              2U);
    EXPECT_EQ(select(on_push(ch, T(1), unreachable), on_pop(ch, unreachable),
                     on_push(ch, T(1), unreachable), on_timeout(1ms, nothing)),
              3U);
    const auto both = [&](int item) {
      return spawn([&, item] {
        int got = 0;
        select(on_pop(ch, [&](std::optional<T> v) { got = *v; }), on_push(ch, T(item), nothing),
               on_pop(ch, [&](std::optional<T> v) { got = *v; }));
        return got;
      });
    };
    auto first = both(5);
    wait_until_parked(first);
    EXPECT_FALSE(first.done());
    auto second = both(6);  // whichever side it takes, the first has the other
    const int a = first.get(), b = second.get();
    EXPECT_TRUE((a == 6 && b == 0) || (a == 0 && b == 5)) << a << ' ' << b;
    auto third = both(7);
    wait_until_parked(third);
    ch.push(T(8));
    EXPECT_EQ(third.get(), 8);
    auto fourth = both(9);
    wait_until_parked(fourth);
    EXPECT_EQ(ch.pop(), T(9));
    EXPECT_EQ(fourth.get(), 0);
    EXPECT_EQ(ch.try_pop(), std::nullopt);

    channel<T> buffered(1);
    EXPECT_EQ(select(on_pop(buffered, unreachable), on_push(buffered, T(3), nothing)), 1U);
    EXPECT_EQ(select(on_pop(buffered, nothing), on_push(buffered, T(4), unreachable)), 0U);
  });
}

// F84
TEST_P(select_test, a_push_to_a_closed_channel_is_ready_and_throws) {
  for_both_payloads([]<class T>(T) {
    channel<T> ch, other;
    T item(3);
    auto t =
        spawn([&] { select(on_push(ch, std::move(item), unreachable), on_pop(other, nothing)); });
    wait_until_parked(t);
    ch.close();
    EXPECT_THROW(t.get(), channel_closed);
    EXPECT_THROW(select(on_push(ch, std::move(item), unreachable), otherwise(unreachable)),
                 channel_closed);
    EXPECT_EQ(static_cast<int>(item), 3);
    EXPECT_FALSE(other.try_push(T(1))) << "it has left the other";
  });
}

TEST_P(select_test, a_cancelled_one_has_moved_nothing) {
  for_both_payloads([]<class T>(T) {
    channel<T> in, out;
    T item(3);
    auto t = spawn([&] { select(on_push(out, std::move(item), nothing), on_pop(in, nothing)); });
    wait_until_parked(t);
    t.cancel();
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_EQ(static_cast<int>(item), 3);
    EXPECT_FALSE(in.try_push(T(1)));
    EXPECT_EQ(out.try_pop(), std::nullopt);
  });
}

TEST_P(select_test, a_function_that_throws_has_had_its_item) {
  on_fiber([] {
    channel<int> ch(1);
    ch.push(1);
    EXPECT_THROW(select(on_pop(ch, [](std::optional<int>) { throw std::runtime_error("f"); })),
                 std::runtime_error);
    EXPECT_EQ(ch.size(), 0U);
  });
}

// F87
TEST_P(select_test, an_item_whose_move_throws_leaves_all_as_it_was) {
  on_fiber([] {
    channel<brittle> ch(1), other;
    brittle item(2);
    brittle::armed = 1;
    EXPECT_THROW(select(on_push(ch, std::move(item), unreachable), on_pop(other, unreachable)),
                 std::runtime_error);
    EXPECT_EQ(item.value, 2);
    EXPECT_EQ(ch.size(), 0U);
    EXPECT_TRUE(ch.try_push(std::move(item)));
    brittle::armed = 1;
    EXPECT_THROW(select(on_pop(ch, unreachable)), std::runtime_error);
    EXPECT_EQ(ch.size(), 1U);
    EXPECT_EQ(ch.pop()->value, 2);

    // The other side's call is the one that throws; the select goes on waiting.
    int got = 0;
    auto t = spawn([&] {
      select(on_pop(ch, [&](std::optional<brittle> v) { got = v->value; }),
             on_pop(other, unreachable));
    });
    wait_until_parked(t);
    brittle::armed = 1;
    EXPECT_THROW(ch.try_push(5), std::runtime_error);
    EXPECT_TRUE(ch.push_for(brittle(6), 10s));
    t.get();
    EXPECT_EQ(got, 6);
  });
}

TEST_P(select_test, threads_select_as_fibers_do) {
  channel<int> to_thread, to_fiber, stop;
  std::thread thread([&] {
    for (bool goes_on = true; goes_on;)
      select(on_pop(to_thread, [&](std::optional<int> v) { to_fiber.push(*v + 1); }),
             on_pop(stop, [&](std::optional<int>) { goes_on = false; }));
  });
  on_fiber([&] {
    for (int i = 0; i < 50; ++i) {
      to_thread.push(i);
      EXPECT_EQ(to_fiber.pop(), i + 1);
    }
    stop.close();
  });
  thread.join();
}

// Of those that are ready each is taken as often as the others: 4.9 standard deviations are
// exceeded by chance once in a million.
TEST(select_fairness, those_that_are_ready_have_the_same_chance) {
  make_runtime(1)->block_on([] {
    const int trials = sanitized ? 10'000 : 100'000;
    const auto within = [](int count, int of, double share) {
      const double deviation = std::sqrt(of * share * (1 - share));
      return std::abs(count - of * share) <= 4.9 * deviation;
    };
    std::array<channel<int>, 4> all{channel<int>(1), channel<int>(1), channel<int>(1),
                                    channel<int>(1)};
    // Ready in turn: all four; two neighbours; two with a gap. A push is as good as a pop.
    for (const unsigned ready : {0b1111U, 0b0011U, 0b1001U}) {
      for (auto& ch : all) ch.try_pop();
      std::array<int, 4> taken{};
      for (int i = 0; i < trials; ++i) {
        for (unsigned c = 0; c < 3; ++c)
          if ((ready >> c & 1) != 0) all[c].try_push(int{1});
        if ((ready >> 3 & 1) != 0)
          all[3].try_pop();
        else
          all[3].try_push(int{1});
        ++taken[select(on_pop(all[0], nothing), on_pop(all[1], nothing), on_pop(all[2], nothing),
                       on_push(all[3], 1, nothing))];
      }
      const int n = __builtin_popcount(ready);
      for (unsigned c = 0; c < 4; ++c) {
        const bool is_ready = (ready >> c & 1) != 0;
        EXPECT_TRUE(is_ready ? within(taken[c], trials, 1.0 / n) : taken[c] == 0)
            << "case " << c << " of " << n << " ready ones was taken " << taken[c] << " times";
      }
    }
  });
}

// Nobody starves among those that wait: a select gives way to who came before it.
TEST_P(select_test, a_waiting_select_keeps_its_place_in_each_line) {
  on_fiber([] {
    channel<int> a, b;
    int first = 0, second = 0;
    auto waiting = spawn([&] {
      select(on_pop(a, [&](std::optional<int> v) { first = *v; }),
             on_pop(b, [&](std::optional<int> v) { first = *v; }));
    });
    wait_until_parked(waiting);
    auto later = spawn([&] { second = b.pop().value(); });
    wait_until_parked(later);
    b.push(1);
    b.push(2);
    waiting.get();
    later.get();
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 2);
  });
}

}  // namespace
}  // namespace coir::testing
