// with_timeout, with_deadline, shield: who asked for a cancellation decides what becomes of it.
#include <coir/sched/cancelled.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <memory>
#include <stop_token>
#include <system_error>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

constexpr auto for_ever = 1h;

class timeout_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, timeout_test, every_setting(), name_of);

TEST_P(timeout_test, a_value_that_is_in_time_is_returned) {
  on_fiber([] {
    EXPECT_EQ(with_timeout(1h, [] { return 7; }), 7);
    EXPECT_EQ(*with_timeout(1h, [] { return std::make_unique<int>(8); }), 8);
    with_timeout(1h, [](timeout_scope& s) { EXPECT_FALSE(s.expired()); });
    EXPECT_FALSE(this_fiber::cancel_requested());
  });
}

TEST_P(timeout_test, its_own_cancellation_becomes_timed_out) {
  on_fiber([] {
    const auto began = clock::now();
    bool unwound = false;
    EXPECT_THROW(with_timeout(5ms,
                              [&] {
                                try {
                                  this_fiber::sleep_for(for_ever);
                                } catch (const cancelled& c) {
                                  EXPECT_EQ(c.fiber(), this_fiber::id());
                                  unwound = true;
                                  throw;
                                }
                              }),
                 timed_out);
    EXPECT_TRUE(unwound);
    EXPECT_GE(clock::now() - began, 5ms) << "never early";
    EXPECT_FALSE(this_fiber::cancel_requested());
    this_fiber::yield();  // nothing is left of it
  });
}

TEST_P(timeout_test, a_deadline_that_has_passed_strikes_at_the_first_blocking_call) {
  on_fiber([] {
    bool reached = false;
    EXPECT_THROW(with_timeout(0s,
                              [&] {
                                reached = true;
                                this_fiber::yield();
                              }),
                 timed_out);
    EXPECT_TRUE(reached);
    EXPECT_EQ(with_timeout(-1s, [] { return 1; }), 1) << "it met no blocking call";
    EXPECT_THROW(with_timeout(1ms,
                              [] {
                                const auto end = clock::now() + 2ms;
                                while (clock::now() < end) {}
                                mutex free;
                                free.lock();  // would not have to wait
                              }),
                 timed_out);
  });
}

TEST_P(timeout_test, a_value_an_error_or_an_outer_cancellation_that_leaves_it_wins) {
  on_fiber([] {
    EXPECT_EQ(with_timeout(1ms,
                           [] {
                             try {
                               this_fiber::sleep_for(for_ever);
                             } catch (const cancelled&) {}
                             return 3;
                           }),
              3);
    EXPECT_THROW(with_timeout(1ms,
                              [] {
                                try {
                                  this_fiber::sleep_for(for_ever);
                                } catch (const cancelled&) {
                                  throw std::string("other");
                                }
                              }),
                 std::string);
    auto t = spawn([] { with_timeout(for_ever, [] { this_fiber::sleep_for(for_ever); }); });
    while (t.state() != task_state::parked) this_fiber::yield();
    t.cancel("outer");
    try {
      t.get();
      ADD_FAILURE();
    } catch (const cancelled& c) {
      EXPECT_EQ(c.reason(), "outer");
    }
    EXPECT_TRUE(t.cancelled());
  });
}

TEST_P(timeout_test, both_origins_at_once_are_one_exception_and_the_outer_one_wins) {
  on_fiber([] {
    event entered;
    auto t = spawn([&] {
      int caught = 0;
      try {
        with_timeout(0s, [&] {
          try {
            shield([&] {
              entered.set();
              this_fiber::sleep_for(1ms);
              while (!this_fiber::cancel_requested()) this_fiber::sleep_for(100us);
              this_fiber::sleep_for(1ms);
            });
            this_fiber::yield();
          } catch (const cancelled&) {
            ++caught;
            throw;
          }
        });
      } catch (const timed_out&) {
        caught = 100;
      } catch (const cancelled& c) {
        EXPECT_EQ(c.reason(), "outer");
        ++caught;
      }
      this_fiber::yield();  // it has been thrown, once
      return caught;
    });
    entered.wait();
    t.cancel("outer");
    EXPECT_EQ(t.get(), 2);
  });
}

TEST_P(timeout_test, the_earliest_deadline_wins_and_each_strikes_its_own) {
  on_fiber([] {
    bool inner = false, outer = false;
    try {
      with_timeout(1h, [&] {
        try {
          with_timeout(2ms, [] { this_fiber::sleep_for(for_ever); });
        } catch (const timed_out&) {
          inner = true;
        }
      });
    } catch (const timed_out&) {
      outer = true;
    }
    EXPECT_TRUE(inner);
    EXPECT_FALSE(outer);

    inner = outer = false;
    try {
      with_timeout(2ms, [&] {
        try {
          with_timeout(1h, [] { this_fiber::sleep_for(for_ever); });
        } catch (const timed_out&) {
          inner = true;
        }
      });
    } catch (const timed_out&) {
      outer = true;
    }
    EXPECT_FALSE(inner) << "it was the outer one's";
    EXPECT_TRUE(outer);

    // Both at once: one exception, which the outer one turns into its own.
    inner = outer = false;
    try {
      with_timeout(0s, [&] {
        try {
          with_timeout(0s, [] { this_fiber::yield(); });
        } catch (const timed_out&) {
          inner = true;
          throw;
        }
      });
    } catch (const timed_out&) {
      outer = true;
    }
    EXPECT_FALSE(inner);
    EXPECT_TRUE(outer);
  });
}

TEST_P(timeout_test, an_expiry_that_nobody_met_is_gone_with_its_scope) {
  on_fiber([] {
    EXPECT_TRUE(with_timeout(0s, [](timeout_scope& s) { return s.expired(); }));
    EXPECT_FALSE(this_fiber::cancel_requested());
    this_fiber::yield();
    EXPECT_EQ(with_timeout(0s, [] { return this_fiber::uncancel(); }), true);
    with_timeout(0s, [] {
      this_fiber::uncancel();
      this_fiber::yield();  // taken back
    });
  });
}

TEST_P(timeout_test, a_thousand_in_turn_and_one_that_waits_in_each) {
  on_fiber([] {
    for (int i = 0; i < 1000; ++i) with_timeout(1h, [] { this_fiber::yield(); });
    int out = 0;
    for (int i = 0; i < 20; ++i) {
      try {
        with_timeout(std::chrono::microseconds(i * 50), [] { this_fiber::sleep_for(for_ever); });
      } catch (const timed_out&) {
        ++out;
      }
    }
    EXPECT_EQ(out, 20);
  });
}

TEST_P(timeout_test, reschedule_moves_the_deadline_from_any_fiber_or_thread) {
  on_fiber([] {
    EXPECT_THROW(with_timeout(1h,
                              [](timeout_scope& s) {
                                s.reschedule(clock::now() + 1ms);
                                this_fiber::sleep_for(for_ever);
                              }),
                 timed_out);
    with_timeout(2ms, [](timeout_scope& s) {
      s.reschedule(clock::time_point::max());
      EXPECT_EQ(s.deadline(), clock::time_point::max());
      this_fiber::sleep_for(5ms);
      EXPECT_FALSE(s.expired());
    });
    EXPECT_THROW(with_timeout(0s, [](timeout_scope& s) { s.reschedule(clock::now() + 1h); }),
                 std::logic_error);
    // Earlier, by another fiber while this one waits.
    std::atomic<timeout_scope*> scope{nullptr};
    auto other = spawn([&] {
      EXPECT_TRUE(eventually_on_fiber([&] { return scope.load() != nullptr; }));
      scope.load()->reschedule(clock::now());
    });
    EXPECT_THROW(with_timeout(1h,
                              [&](timeout_scope& s) {
                                scope = &s;
                                this_fiber::sleep_for(for_ever);
                              }),
                 timed_out);
    other.get();
  });
  std::atomic<timeout_scope*> scope{nullptr};
  auto t = rt().spawn([&] {
    with_timeout(1h, [&](timeout_scope& s) {
      scope = &s;
      this_fiber::sleep_for(for_ever);
    });
  });
  ASSERT_TRUE(eventually([&] { return scope.load() != nullptr; }));
  scope.load()->reschedule(clock::now() + 1ms);  // by a plain thread
  EXPECT_THROW(t.get(), timed_out);
}

TEST_P(timeout_test, a_plain_thread_is_refused) {
  try {
    with_timeout(1s, [] {});
    ADD_FAILURE();
  } catch (const std::system_error& e) {
    EXPECT_EQ(e.code(), std::errc::operation_not_permitted);
    EXPECT_NE(std::string(e.what()).find("with_timeout"), std::string::npos);
  }
  EXPECT_EQ(shield([] { return 4; }), 4);
}

TEST_P(timeout_test, a_shield_keeps_outer_cancellation_until_its_end) {
  on_fiber([] {
    event inside, go_on;
    bool after = false;
    auto t = spawn([&] {
      shield([&] {
        inside.set();
        while (!go_on.is_set()) this_fiber::sleep_for(100us);
        EXPECT_TRUE(this_fiber::cancel_requested());
        this_fiber::check_cancelled();
      });
      after = true;
      this_fiber::yield();
      ADD_FAILURE() << "it comes at the next call";
    });
    inside.wait();
    t.cancel();
    go_on.set();
    t.wait();
    EXPECT_TRUE(t.cancelled());
    EXPECT_TRUE(after);
  });
}

TEST_P(timeout_test, timeouts_inside_a_shield_work) {
  on_fiber([] {
    event inside;
    int inner = 0;
    auto t = spawn([&] {
      shield([&] {
        inside.set();
        for (int i = 0; i < 3; ++i) {
          try {
            with_timeout(1ms, [] { this_fiber::sleep_for(for_ever); });
          } catch (const timed_out&) {
            ++inner;
          }
        }
      });
      this_fiber::yield();
    });
    inside.wait();
    t.cancel();
    t.wait();
    EXPECT_TRUE(t.cancelled());
    EXPECT_EQ(inner, 3);
  });
}

TEST_P(timeout_test, an_outer_timeout_waits_for_the_shield_inside) {
  on_fiber([] {
    bool through = false;
    EXPECT_THROW(with_timeout(1ms,
                              [&] {
                                shield([&] {
                                  this_fiber::sleep_for(3ms);
                                  EXPECT_TRUE(this_fiber::cancel_requested());
                                  this_fiber::sleep_for(1ms);
                                  through = true;
                                });
                                this_fiber::yield();
                              }),
                 timed_out);
    EXPECT_TRUE(through);
  });
}

TEST_P(timeout_test, one_that_strikes_inside_a_shield_leaves_what_waits_outside_there) {
  on_fiber([] {
    int inner = 0;
    EXPECT_THROW(with_timeout(1ms,
                              [&] {
                                shield([&] {
                                  while (!this_fiber::cancel_requested())
                                    this_fiber::sleep_for(1ms);
                                  // Both would strike now.
                                  EXPECT_THROW(
                                      with_timeout(0ms, [] { this_fiber::sleep_for(for_ever); }),
                                      timed_out);
                                  ++inner;
                                });
                                this_fiber::yield();
                                ++inner;
                              }),
                 timed_out);
    EXPECT_EQ(inner, 1);
  });
}

TEST_P(timeout_test, a_cancellation_that_is_kept_is_not_that_of_another_which_has_struck_before) {
  on_fiber([] {
    std::exception_ptr kept;
    with_timeout(0ms, [&] {
      try {
        this_fiber::yield();
      } catch (const cancelled&) {
        kept = std::current_exception();
      }
    });
    ASSERT_NE(kept, nullptr);
    const auto keeps = [&] {
      with_timeout(0ms, [&] {
        EXPECT_THROW(this_fiber::yield(), cancelled);  // its own
        std::rethrow_exception(kept);
      });
    };
    EXPECT_THROW(keeps(), cancelled);
  });
}

TEST_P(timeout_test, shutdown_passes_every_timeout) {
  std::atomic<bool> parked{false};
  std::atomic<int> seen{0};
  auto t = rt().spawn([&] {
    try {
      with_timeout(1h, [&] {
        parked = true;
        this_fiber::sleep_for(for_ever);
      });
    } catch (const cancelled&) {
      ++seen;
      try {
        with_timeout(1h, [] { this_fiber::yield(); });
      } catch (const cancelled&) {
        ++seen;
      }
      throw;
    }
  });
  ASSERT_TRUE(eventually([&] { return parked.load(); }));
  rt().shutdown();
  EXPECT_TRUE(t.cancelled());
  EXPECT_EQ(seen, 2);
}

TEST_P(timeout_test, a_stop_token_stops_at_the_next_request) {
  on_fiber([] {
    std::atomic<int> calls{0};
    event ready;
    auto t = spawn([&] {
      const std::stop_token token = this_fiber::stop_token();
      std::stop_callback note(token, [&] { ++calls; });
      EXPECT_FALSE(token.stop_requested());
      ready.set();
      try {
        this_fiber::sleep_for(for_ever);
      } catch (const cancelled&) {
        EXPECT_TRUE(token.stop_requested());
      }
      EXPECT_FALSE(this_fiber::stop_token().stop_requested()) << "the next request has not come";
      EXPECT_THROW(with_timeout(1ms,
                                [&] {
                                  const std::stop_token next = this_fiber::stop_token();
                                  std::stop_callback too(next, [&] { ++calls; });
                                  while (calls != 2) {
                                    try {
                                      this_fiber::yield();
                                    } catch (const cancelled&) {}
                                  }
                                  throw timed_out();
                                }),
                   timed_out);
    });
    ready.wait();
    t.cancel();
    t.get();
    EXPECT_EQ(calls, 2);
  });
  EXPECT_FALSE(this_fiber::stop_token().stop_possible());
}

class timeout_race : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, timeout_race, worker_counts(), name_of);

// The deadline against the end of what it limits: the value or timed_out, never both, nothing left.
TEST_P(timeout_race, expiry_against_completion) {
  on_fiber([] {
    dice random(7);
    std::uint64_t in_time = 0, late = 0;
    const unsigned rounds = 2000 * scale();
    for (unsigned i = 0; i < rounds; ++i) {
      event done;
      auto t = spawn([&done, spins = random(60000)] {
        dice own(spins);
        own.spin(spins + 1);
        done.set();
      });
      try {
        with_timeout(std::chrono::microseconds(random(16)), [&] { done.wait(); });
        ++in_time;
      } catch (const timed_out&) {
        ++late;
      }
      ASSERT_FALSE(this_fiber::cancel_requested());
      t.get();
    }
    expect_both_win("a timeout", in_time, late, "the value", "the deadline");
  });
}

// What is left of a timeout that was in time strikes about when its fiber ends.
TEST_P(timeout_race, a_fiber_may_end_as_its_alarm_strikes) {
  rt().block_on([&] {
    for (int round = 0; round < 20; ++round) {
      std::vector<task<void>> all;
      for (int i = 0; i < 100; ++i)
        all.push_back(spawn([i] {
          const auto end = clock::now() + std::chrono::microseconds(i);
          try {
            with_timeout(std::chrono::microseconds(i), [&] {
              while (clock::now() < end - 1us) this_fiber::yield();
            });
          } catch (const timed_out&) {}
        }));
      for (auto& t : all) t.get();
    }
  });
}

}  // namespace
}  // namespace coir::testing
