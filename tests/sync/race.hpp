// A blocking call against who would serve it and who cancels it.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {

// Each round the victim offers, while two partners and a canceller strike at about the same time.
template <class Offer, class Serve, class Settle>
void race(runtime& rt, const char* what, std::atomic<std::uint64_t>& progress, Offer&& offer,
          Serve&& serve, Settle&& settle) {
  const watchdog guard(rt, progress);
  const auto start = std::chrono::steady_clock::now();
  task<void> victim;
  std::atomic<std::int64_t> begun{0};
  std::array<std::atomic<std::int64_t>, 3> struck{};
  std::uint64_t served = 0, was_cancelled = 0;
  // Where the processors are busy with something else: until both have had their share.
  const auto goes_on = [&] {
    const auto spent = std::chrono::steady_clock::now() - start, budget = stress_time(250ms) + 0ns;
    const std::uint64_t all = served + was_cancelled;
    return spent < budget ||
           (spent < 10 * budget && std::min(served, was_cancelled) * 50 < all + 1000);
  };
  event made;
  const auto strike = [&](std::size_t which, auto&& act) {
    made.wait();
    dice random(static_cast<std::uint32_t>(which) + 7);
    for (std::int64_t round = 1;; ++round) {
      std::int64_t now;
      while ((now = begun) != round && now >= 0) this_fiber::yield();
      if (now < 0) return;
      for (std::uint32_t n = random(which == 0 ? 2 : 5); n > 0; --n) this_fiber::yield();
      // Else one side seldom comes first, where it shares its processor with others.
      if (which != 0 && round % 3 == 0)
        while (struck[0] != round) this_fiber::yield();
      if (which == 0 && round % 3 == 1)
        while (struck[1] != round) this_fiber::yield();
      random.spin(300);
      act();
      struck[which] = round;
    }
  };
  victim = rt.spawn([&] {
    made.wait();
    for (std::int64_t round = 1; goes_on(); ++round) {
      begun = round;
      bool stopped = false;
      try {
        offer();
        ++served;
      } catch (const cancelled&) {
        stopped = true;
        ++was_cancelled;
      }
      for (auto& s : struck)
        while (s != round) {
          try {
            this_fiber::yield();
          } catch (const cancelled&) {  // of a round that was served
          }
        }
      this_fiber::uncancel();
      settle(stopped);
      progress.fetch_add(1, std::memory_order_relaxed);
    }
    begun = -1;
  });
  std::vector<task<void>> others;
  others.push_back(rt.spawn([&] { strike(0, [&] { victim.cancel(); }); }));
  others.push_back(rt.spawn([&] { strike(1, serve); }));
  others.push_back(rt.spawn([&] { strike(2, serve); }));
  made.set();
  for (auto& t : others) t.get();
  victim.get();
  expect_both_win(what, served, was_cancelled, "the other side");
}

}  // namespace coir::testing
