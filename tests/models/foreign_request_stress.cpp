// Brute force on the protocol of foreign requests: two workers that run, steal, rescue and wake one
// fiber as they please, while a third thread cancels it again and again and waits for each
// delivery.
#include "foreign_request.hpp"

#include <gtest/gtest.h>
#include <thread>

#include "stress.hpp"

namespace {

using namespace coir::sched;
using worker = models::model_worker<std_atomics>;
using fiber = models::model_fiber<std_atomics>;

struct shared_fiber {
  worker here, there;
  fiber f;
  std::atomic<wait_generation> published{0};
  std::atomic<std::uint64_t> delivered{0};
  std::atomic<bool> over{false}, done{false};
  std::atomic<std::uint64_t> stolen{0}, woken{0};

  // The fiber's own.
  stress::random_source pace{9};
  int parks = 0;
  std::uint64_t wrong_context = 0;
  stress::tally granted, cancelled, seen_on_entry;

  // Its code, from the park on that has this number; 0: from the start.
  void run(worker& on, int park) {
    wrong_context += park != parks;
    for (bool waited = park != 0;; waited = false) {
      const bool claimed = waited && f.claim.finish() == outcome::cancelled;
      if (waited) ++(claimed ? cancelled : granted);
      wrong_context += claimed && !f.asked();
      if (f.asked()) {
        seen_on_entry += !claimed;
        f.take_request();
        delivered.fetch_add(1, std::memory_order_release);
        if (over.load(std::memory_order_relaxed)) break;
        continue;
      }
      f.claim.begin();
      pace.dawdle(100);  // a message that comes now meets a wait, and a fiber that is not parked
      pace.give_way(8);
      ++parks;
      if (on.park(f, parks, [this](wait_generation generation) {
            published.store(generation, std::memory_order_release);
          }))
        return;
      waited = true;
      wrong_context += f.claim.finish() != outcome::cancelled;
    }
    done.store(true, std::memory_order_release);
  }

  void work(worker& mine, worker& other, std::uint64_t seed) {
    stress::random_source random(seed);
    while (!done.load(std::memory_order_acquire)) {
      int park = 0;
      while (mine.take_next(park) != nullptr) run(mine, park);
      if (mine.has_messages()) mine.handle_messages();
      random.dawdle(50);
      if (random.below(2) == 0) steal(mine, other, random);
      if (random.below(16) == 0 && grant(mine) && random.below(4) == 0) offer(mine);
      random.give_way(8);
    }
  }

  void steal(worker& mine, worker& other, stress::random_source& random) {
    if (!other.has_ready() && !other.has_messages()) return;
    mine.steal_from(other, random.below(2) == 0, 16);
    if (mine.has_ready()) stolen.fetch_add(1, std::memory_order_relaxed);
  }

  // A chance for the other to steal what is ready here.
  void offer(worker& mine) {
    for (int turn = 0; mine.has_ready() && turn < 50; ++turn) std::this_thread::yield();
  }

  // Not so often that a canceller who shares a processor with the workers never gets its turn.
  bool grant(worker& mine) {
    if (woken.load(std::memory_order_relaxed) > 4 * delivered.load(std::memory_order_relaxed) + 64)
      return false;
    if (f.asked()) return false;  // a grant would hide that the cancellation is lost
    const auto wait = published.load(std::memory_order_acquire);
    if (wait == 0 || !f.claim.claim(wait, outcome::granted)) return false;
    woken.fetch_add(1, std::memory_order_relaxed);
    mine.ready(f);
    return true;
  }
};

class foreign_request_stress : public stress::with_both_fences {};

INSTANTIATE_TEST_SUITE_P(fences, foreign_request_stress, testing::Bool(), stress::name_of_fences);

TEST_P(foreign_request_stress, each_cancellation_is_delivered) {
  shared_fiber shared;
  shared.f.home.store(&shared.here);
  shared.here.ready(shared.f);
  std::thread first([&] { shared.work(shared.here, shared.there, 1); });
  std::thread second([&] { shared.work(shared.there, shared.here, 2); });

  stress::random_source random(3);
  std::uint64_t requests = 0;
  bool delivered = true;
  const stress::race_clock clock(2);
  while (delivered && !shared.over) {
    random.dawdle(300);
    random.give_way(2);
    // Where the two workers share what is left of a processor, steals are rare: let them catch up.
    if (shared.stolen * 20 < requests) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (!clock.goes_on({shared.granted, shared.cancelled, shared.seen_on_entry, shared.stolen}))
      shared.over = true;
    models::request_cancellation(shared.f);
    ++requests;
    delivered = stress::eventually([&] { return shared.delivered >= requests; });
  }
  EXPECT_TRUE(delivered) << "cancellation " << requests << " is lost";
  if (!delivered) shared.done = true;
  first.join();
  second.join();

  EXPECT_EQ(shared.wrong_context, 0u) << "the fiber was run before its context was saved, or twice";
  EXPECT_EQ(shared.delivered, requests);
  EXPECT_EQ(shared.granted, shared.woken);
  const int left = (shared.here.has_messages() ? 1 : 0) + (shared.there.has_messages() ? 1 : 0);
  EXPECT_EQ(shared.f.messages, left);
  stress::each_happens(GetParam() ? "foreign request, asymmetric" : "foreign request, fallback",
                       {{"granted", shared.granted},
                        {"cancelled in its wait", shared.cancelled},
                        {"seen on entry", shared.seen_on_entry},
                        {"stolen", shared.stolen}});
}

}  // namespace
