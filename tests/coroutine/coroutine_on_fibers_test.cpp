// A body runs in the fiber that resumes it: it parks that fiber, uses its locks, is cancelled with
// it, and goes with it to other workers.
#include <coir/coroutine/coroutine.hpp>
#include <coir/coroutine/generator.hpp>
#include <coir/sched/cancelled.hpp>
#include <coir/sched/task_group.hpp>
#include <coir/sched/timeout.hpp>
#include <coir/sync/event.hpp>
#include <coir/sync/mutex.hpp>

#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <string>

#include "coroutine_fixture.hpp"
#include "guest_host.hpp"

namespace coir::testing {
namespace {

class coroutine_on_fibers_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, coroutine_on_fibers_test, every_setting(), name_of);

[[gnu::noinline]] sched::fiber_record& this_record() {
  return static_cast<sched::fiber_record&>(*sched::current_host().running);
}

template <class T>
void wait_until_parked(const task<T>& t) {
  while (t.state() != task_state::parked && !t.done()) this_fiber::yield();
}

TEST_P(coroutine_on_fibers_test, a_blocking_call_parks_the_fiber_that_resumed_it) {
  on_fiber([] {
    event go;
    auto waits = spawn([&] {
      coroutine<int()> co([&](auto& yield) {
        go.wait();
        yield(1);
        this_fiber::sleep_for(100us);
        yield(2);
      });
      EXPECT_EQ(co.resume(), 1);
      EXPECT_EQ(co.resume(), 2);
      return 3;
    });
    wait_until_parked(waits);
    EXPECT_FALSE(waits.done());
    go.set();
    EXPECT_EQ(waits.get(), 3);
  });
}

TEST_P(coroutine_on_fibers_test, the_body_has_the_id_name_and_locks_of_its_resumer) {
  on_fiber([] {
    mutex m;
    coroutine<fiber_id()> co([&](auto& yield) {
      m.lock();
      yield(this_fiber::id());
      EXPECT_EQ(this_fiber::name(), "second");
      yield(this_fiber::id());
    });
    EXPECT_EQ(co.resume(), this_fiber::id());
    m.unlock();  // this fiber has locked it
    auto second = spawn({.name = "second"}, [&] { EXPECT_EQ(co.resume(), this_fiber::id()); });
    second.get();
  });
}

TEST_P(coroutine_on_fibers_test, fibers_and_threads_may_resume_one_in_turn) {
  coroutine<int(int)> co([](auto& yield, int n) {
    for (;;) {
      this_fiber::sleep_for(10us);
      n = yield(n + 1);
    }
  });
  int n = 0;
  for (int round = 0; round < 10; ++round) {
    n = co.resume(n).value();
    n = on_fiber([&] { return co.resume(n).value(); });
    std::thread([&] { n = co.resume(n).value(); }).join();
  }
  EXPECT_EQ(n, 30);
  on_fiber([&] { co.close(); });
}

TEST_P(coroutine_on_fibers_test, a_generator_may_take_its_values_from_what_parks) {
  on_fiber([] {
    std::vector<task<int>> all;
    for (int i = 0; i < 50; ++i)
      all.push_back(spawn([i] {
        int sum = 0;
        for (int v : generator<int>([i](auto& yield) {
               for (int n = 0; n < 10; ++n) {
                 if (n % 3 == i % 3) this_fiber::yield();
                 if (n % 7 == i % 7) this_fiber::sleep_for(50us);
                 yield(n);
                 yield.from(generator<int>([n](auto& inner) {
                   this_fiber::yield();
                   inner(n);
                 }));
               }
             }))
          sum += v;
        return sum;
      }));
    for (auto& t : all) EXPECT_EQ(t.get(), 90);
  });
}

TEST_P(coroutine_on_fibers_test,
       the_stack_that_this_fiber_tells_of_is_the_coroutines_while_it_runs) {
  on_fiber([] {
    const std::size_t own = this_fiber::stack_size();
    coroutine<std::size_t()> co(
        [](auto& yield) {
          EXPECT_LT(this_fiber::stack_used(), this_fiber::stack_size());
          EXPECT_GT(this_fiber::stack_used(), 0U);
          this_fiber::sleep_for(10us);
          yield(this_fiber::stack_size());
          this_fiber::yield();
          yield(this_fiber::stack_size());
        },
        64 * 1024);
    const auto first = co.resume().value();
    EXPECT_LT(first, 64U * 1024);
    EXPECT_GT(first, 32U * 1024);
    EXPECT_EQ(this_fiber::stack_size(), own);
    this_fiber::sleep_for(10us);
    EXPECT_EQ(co.resume(), first);
    EXPECT_EQ(this_fiber::stack_size(), own);
    EXPECT_GT(this_fiber::stack_used(), 0U);
  });
}

TEST_P(coroutine_on_fibers_test, a_dump_tells_of_the_fibers_own_stack) {
  if (fiber::sanitizers::address) GTEST_SKIP() << "locals lie on a stack of the tool's";
  opts.measure_stacks = true;
  event go;
  auto t = rt().spawn([&] {
    [] {
      volatile char space[30000];
      for (char volatile& c : space) c = 1;
    }();
    coroutine<void()>([&](auto&) { go.wait(); }).resume();
  });
  std::vector<fiber_info> rows;
  const auto measured = [&] {  // it is parked a moment before it is measured
    rows = rt().fibers();
    return rows.size() == 1 && rows[0].stack_used != 0;
  };
  ASSERT_TRUE(eventually(measured));
  EXPECT_GE(rows[0].stack_used, 30000U);
  EXPECT_LE(rows[0].stack_used, 128U * 1024);  // all of it, of a stack without paint
  go.set();
  t.get();
}

// --- cancellation

TEST_P(coroutine_on_fibers_test, cancellation_strikes_in_the_body_and_leaves_by_resume) {
  on_fiber([] {
    event never;
    int alive = 0;
    auto t = spawn([&] {
      coroutine<void()> co([&](auto&) {
        counted c(alive);
        never.wait();
      });
      try {
        co.resume();
        ADD_FAILURE();
      } catch (const cancelled& stop) {
        EXPECT_EQ(stop.reason(), "enough");
        EXPECT_EQ(co.status(), coroutine_status::dead);
        throw;
      }
    });
    wait_until_parked(t);
    EXPECT_TRUE(t.cancel("enough"));
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_TRUE(t.cancelled());
    EXPECT_EQ(alive, 0);
  });
}

TEST_P(coroutine_on_fibers_test, it_does_not_strike_in_a_body_while_any_of_its_resumers_unwinds) {
  struct resumes {
    int& reached;
    ~resumes() {
      coroutine<void()>([&](auto&) {
        coroutine<void()>([&](auto&) {
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          this_fiber::sleep_for(10us);
          ++reached;
          event e;
          EXPECT_FALSE(e.wait_for(10us));
          ++reached;
        }).resume();
      }).resume();
    }
  };
  on_fiber([] {
    int reached = 0;
    auto t = spawn([&] {
      this_record().attention.fetch_or(sched::cancel_requested);
      try {
        resumes at_end{reached};
        throw 1;
      } catch (int) {}
      EXPECT_TRUE(this_fiber::cancel_requested());
      this_fiber::sleep_for(10us);
      ADD_FAILURE();
    });
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_EQ(reached, 2);
  });
}

TEST_P(coroutine_on_fibers_test, it_does_not_strike_in_a_body_while_a_resumer_is_shielded) {
  on_fiber([] {
    auto t = spawn([&] {
      this_record().attention.fetch_or(sched::cancel_requested);
      ++this_record().shields;
      coroutine<void()>([&](auto& yield) {
        this_fiber::sleep_for(10us);
        yield();
      }).resume();
      --this_record().shields;
      return true;
    });
    EXPECT_TRUE(t.get());
  });
}

TEST_P(coroutine_on_fibers_test, a_request_is_not_lost_in_a_body_that_is_destroyed) {
  on_fiber([] {
    bool waited = false;
    auto t = spawn([&] {
      {
        coroutine<void()> co([&](auto& yield) {
          try {
            yield();
          } catch (const coroutine_closed&) {}
          this_fiber::sleep_for(10us);  // not while it unwinds
          waited = true;
        });
        co.resume();
        this_record().attention.fetch_or(sched::cancel_requested);
      }
      EXPECT_TRUE(this_fiber::cancel_requested());
      this_fiber::check_cancelled();
    });
    EXPECT_THROW(t.get(), cancelled);
    EXPECT_TRUE(waited);
  });
}

TEST_P(coroutine_on_fibers_test, a_body_that_unwinds_is_not_cancelled_where_it_waits) {
  on_fiber([] {
    bool waited = false;
    struct waits {
      bool& waited;
      ~waits() {
        this_fiber::sleep_for(10us);
        waited = true;
      }
    };
    auto t = spawn([&] {
      coroutine<void()> co([&](auto& yield) {
        waits at_end{waited};
        yield();
      });
      co.resume();
      this_record().attention.fetch_or(sched::cancel_requested);
      co.close();
      return this_fiber::uncancel();
    });
    EXPECT_TRUE(t.get());
    EXPECT_TRUE(waited);
  });
}

TEST_P(coroutine_on_fibers_test, a_scope_of_the_resumer_may_stay_open_over_a_yield) {
  on_fiber([] {
    coroutine<int()> co([](auto& yield) {
      yield(1);
      shield([] { this_fiber::sleep_for(10us); });
      yield(2);
    });
    shield([&] { EXPECT_EQ(co.resume(), 1); });
    EXPECT_EQ(co.resume(), 2);
  });
}

TEST_P(coroutine_on_fibers_test, a_group_that_another_fiber_has_made_may_be_destroyed_in_a_body) {
  on_fiber([] {
    auto group = std::make_unique<task_group>();
    spawn([&] {
      coroutine<int()> co([&](auto& yield) {
        group.reset();
        yield(1);
        shield([] { this_fiber::yield(); });
        yield(2);
      });
      EXPECT_EQ(co.resume(), 1);
      EXPECT_EQ(co.resume(), 2);
    }).get();
    coroutine<int()> co([](auto& yield) { yield(3); });
    EXPECT_EQ(co.resume(), 3);
  });
}

TEST_P(coroutine_on_fibers_test, a_timeout_around_a_resume_ends_what_the_body_waits_for) {
  on_fiber([] {
    event never;
    bool unwound = false;
    coroutine<int()> co([&](auto& yield) {
      yield(1);
      try {
        never.wait();
      } catch (const cancelled&) {
        unwound = true;
        throw;
      }
    });
    EXPECT_EQ(with_timeout(1h, [&] { return co.resume(); }), 1);
    EXPECT_THROW(with_timeout(1ms, [&] { co.resume(); }), timed_out);
    EXPECT_TRUE(unwound);
    EXPECT_EQ(co.status(), coroutine_status::dead);
    this_fiber::yield();  // nothing is left of it
  });
}

TEST_P(coroutine_on_fibers_test, a_timeout_in_the_body_ends_what_it_waits_for) {
  on_fiber([] {
    coroutine<int()> co([](auto& yield) {
      event never;
      for (int n = 0; n < 3; ++n) {
        EXPECT_THROW(with_timeout(100us, [&] { never.wait(); }), timed_out);
        yield(n);
      }
    });
    for (int n = 0; n < 3; ++n) EXPECT_EQ(co.resume(), n);
    EXPECT_FALSE(co.resume());
  });
}

// --- other workers

struct everywhere final : sched::disorder {
  bool scatter(unsigned) noexcept override { return true; }
};

// Every wake and every yield sends the fiber to whichever worker takes it first.
TEST_P(coroutine_on_fibers_test, it_goes_on_where_its_fiber_goes) {
  sched::parts made_of(sched::make_futex_drivers());
  made_of.race = std::make_unique<everywhere>();
  options o;
  o.workers = workers();
  runtime scattering(std::move(o), std::move(made_of));
  std::atomic<unsigned> moved_in_body{0}, moved_outside{0};
  const auto round = [&] {
    std::vector<task<void>> all;
    for (int i = 0; i < 20; ++i)
      all.push_back(spawn([&] {
        unsigned last = this_worker();
        coroutine<int()> co([&](auto& yield) {
          for (int n = 0; n < 50; ++n) {
            try {
              throw n;
            } catch (int) {
              const unsigned before = this_worker();
              if (before != last) ++moved_outside;
              this_fiber::yield();
              if (this_worker() != before) ++moved_in_body;
              yield(n);
              EXPECT_THROW(std::rethrow_exception(std::current_exception()), int);
            }
          }
        });
        for (int n = 0; n < 50; ++n) {
          EXPECT_EQ(co.resume(), n);
          EXPECT_EQ(std::current_exception(), nullptr);
          last = this_worker();
          this_fiber::yield();
        }
        EXPECT_FALSE(co.resume());
      }));
    for (auto& t : all) t.get();
  };
  // Where there are fewer processors than workers, one may now and then do it all.
  const auto all_seen = [&] { return moved_in_body != 0 && moved_outside != 0; };
  for (int n = 0; n < 100 && (n == 0 || (workers() > 1 && !all_seen())); ++n)
    scattering.block_on(round);
  std::printf("moved %u times in the body, %u outside\n", moved_in_body.load(),
              moved_outside.load());
  if (workers() > 1) {
    EXPECT_GT(moved_in_body.load(), 0U);
    EXPECT_GT(moved_outside.load(), 0U);
  }
}

TEST_P(coroutine_on_fibers_test, one_may_outlive_its_runtime) {
  coroutine<int()> co;
  make_runtime(workers())->block_on([&] {
    co = coroutine<int()>([](auto& yield) {
      for (int i = 1;; ++i) {
        this_fiber::sleep_for(10us);
        yield(i);
      }
    });
    EXPECT_EQ(co.resume(), 1);
  });
  EXPECT_EQ(co.resume(), 2);
  on_fiber([&] { EXPECT_EQ(co.resume(), 3); });
}

TEST_P(coroutine_on_fibers_test, they_work_on_the_fibers_of_another_scheduler) {
  test::guest_host guest(sched::make_futex_drivers()->make());
  int sum = 0;
  for (int i = 0; i < 3; ++i)
    guest.spawn([&sum, i] {
      for (int v : generator<int>([i](auto& yield) {
             for (int n = 0; n < 5; ++n) {
               this_fiber::yield();
               try {
                 throw i;
               } catch (int) {
                 yield(n);
               }
             }
           }))
        sum += v;
    });
  std::thread([&] { guest.run(); }).join();
  EXPECT_EQ(sum, 30);
}

TEST_P(coroutine_on_fibers_test, the_memory_of_a_peak_comes_back) {
  if (sanitized) GTEST_SKIP() << "the tools keep memory of their own";
  const auto resident_kib = [] {
    long pages = 0;
    std::FILE* f = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(f, "%*s %ld", &pages), 1);
    std::fclose(f);
    return pages * 4;
  };
  on_fiber([&] {
    constexpr std::size_t count = 30'000;
    std::vector<coroutine<void()>> all;
    all.reserve(count);
    const long before = resident_kib();
    for (std::size_t i = 0; i < count; ++i) all.emplace_back([](auto& yield) { yield(); }).resume();
    const long peak = resident_kib() - before;
    EXPECT_GT(peak, static_cast<long>(count) * 3);  // KiB: less what was cached
    all.clear();
    EXPECT_LT(resident_kib() - before, peak / 2);
  });
}

TEST_P(coroutine_on_fibers_test, a_thread_that_ends_leaves_nothing_of_its_coroutines) {
  if (sanitized) GTEST_SKIP() << "the tools keep memory of their own";
  const auto address_space_pages = [] {
    long pages = 0;
    std::FILE* f = std::fopen("/proc/self/statm", "r");
    EXPECT_EQ(std::fscanf(f, "%ld", &pages), 1);
    std::fclose(f);
    return pages;
  };
  const auto use_threads = [](int count) {
    for (int i = 0; i < count; ++i)
      std::thread([] {
        std::vector<coroutine<void()>> some;
        for (int n = 0; n < 40; ++n) some.emplace_back([](auto& yield) { yield(); }).resume();
      }).join();
  };
  use_threads(3);
  const long before = address_space_pages();
  use_threads(100);
  // A signal stack is 17 pages, 40 stacks are 2560.
  EXPECT_LT(address_space_pages() - before, 100);
}

}  // namespace
}  // namespace coir::testing
