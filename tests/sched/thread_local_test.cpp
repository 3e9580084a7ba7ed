// F18: what the library reads of its thread is the thread's that runs the fiber now, however the
// compiler optimises: with -O3, and with the source of the one thread_local before its eyes, as
// link-time optimisation has it.
#include "sched/host.cpp"

#include "hogs.hpp"

namespace coir::testing {
namespace {

class thread_local_test : public runtime_test {};
INSTANTIATE_TEST_SUITE_P(, thread_local_test, settings_with_thieves(), name_of);

struct seen {
  sched::host* before = nullptr;
  sched::host* after = nullptr;
  sched::host* after_as_home = nullptr;  // by the record, which no compiler takes for constant
};

// All in one function, inlined where it is called, so that nothing keeps the compiler from reading
// once.
[[gnu::always_inline]] inline seen around(std::atomic<bool>& asleep) {
  seen s;
  s.before = &sched::current_host();
  asleep = true;
  this_fiber::sleep_for(1ms);
  s.after = &sched::current_host();
  s.after_as_home = s.after->running->home.load();
  return s;
}

TEST_P(thread_local_test, the_current_host_is_asked_for_anew_after_each_blocking_call) {
  unsigned moved = 0;
  const int rounds = sanitized ? 10 : 40;
  for (int round = 0; round < rounds; ++round)
    on_fiber([&] {
      set_pinned(true);
      std::atomic<bool> asleep{false}, done{false};
      auto t = spawn(here_only, [&] {
        set_pinned(false);
        const seen s = around(asleep);
        done = true;
        return s;
      });
      while (!asleep) this_fiber::yield();
      EXPECT_TRUE(hog_until([&] { return done.load(); })) << "nobody took it over";
      const seen s = t.get();
      EXPECT_EQ(s.after, s.after_as_home);
      moved += s.after != s.before;
    });
  EXPECT_GT(moved, 0U);
}

}  // namespace
}  // namespace coir::testing
