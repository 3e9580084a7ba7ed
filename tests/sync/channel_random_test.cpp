// A channel against a sequential model: a queue with a line of those who push and one of those who
// pop.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/channel.hpp>

#include <deque>

#include "payloads.hpp"
#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

class channel_against_model : public runtime_test {
 protected:
  // One channel, driven by one fiber; who waits is a fiber of its own. After each step everybody
  // has come as far as the model says.
  template <class T>
  void run(std::uint32_t seed, std::size_t capacity) {
    dice random(seed);
    channel<T> ch(capacity);
    struct waiting {
      int value;  // of a push
      task<std::optional<int>> t;
    };
    std::deque<int> stored;
    std::deque<waiting> pushes, pops;
    int next = 1;
    const auto ends_with = [](waiting& w, std::optional<int> value) {
      EXPECT_EQ(w.t.get(), value);
    };
    const auto popped = [&]() -> std::optional<int> {  // what the model says a pop gives now
      if (stored.empty() && pushes.empty()) return std::nullopt;
      if (!pushes.empty()) {
        stored.push_back(pushes.front().value);
        ends_with(pushes.front(), 0);
        pushes.pop_front();
      }
      const int value = stored.front();
      stored.pop_front();
      return value;
    };
    const auto as_int = [](const std::optional<T>& item) {
      return item ? std::optional<int>(static_cast<int>(*item)) : std::nullopt;
    };
    for (int step = 0; step < 400; ++step) {
      switch (random(6)) {
        case 0:
        case 1: {
          const bool possible = !pops.empty() || stored.size() < capacity;
          T item(next);
          ASSERT_EQ(ch.try_push(std::move(item)), possible);
          if (!possible) {
            ASSERT_EQ(static_cast<int>(item), next);
          } else if (!pops.empty()) {
            ends_with(pops.front(), next);
            pops.pop_front();
          } else {
            stored.push_back(next);
          }
          ++next;
          break;
        }
        case 2: {
          const std::optional<T> got = ch.try_pop();
          ASSERT_EQ(as_int(got), popped());
          break;
        }
        case 3:
          if (pops.empty() && stored.size() == capacity) {
            pushes.push_back({next, spawn([&ch, value = next]() -> std::optional<int> {
                                ch.push(T(value));
                                return 0;
                              })});
            wait_until_parked(pushes.back().t);
            ++next;
          }
          break;
        case 4:
          if (stored.empty() && pushes.empty()) {
            pops.push_back({0, spawn([&ch, as_int] { return as_int(ch.pop()); })});
            wait_until_parked(pops.back().t);
          }
          break;
        case 5: {
          auto& line = pushes.empty() ? pops : pushes;
          if (line.empty()) break;
          const auto who = line.begin() + random(static_cast<std::uint32_t>(line.size()));
          who->t.cancel();
          EXPECT_THROW(who->t.get(), cancelled);
          line.erase(who);
          break;
        }
      }
      ASSERT_EQ(ch.size(), stored.size());
    }
    ch.close();
    for (auto& w : pushes) EXPECT_THROW(w.t.get(), channel_closed);
    for (auto& w : pops) ends_with(w, std::nullopt);
    for (const int value : stored) EXPECT_EQ(as_int(ch.pop()), value);
    EXPECT_TRUE(ch.drained());
  }
};
INSTANTIATE_TEST_SUITE_P(, channel_against_model, worker_counts(), name_of);

TEST_P(channel_against_model, random_steps_do_what_a_queue_with_two_lines_does) {
  on_fiber([this] {
    for (std::uint32_t seed = 1; seed <= (sanitized ? 2U : 8U); ++seed)
      for (const std::size_t capacity : {0U, 1U, 2U, 7U}) {
        run<int>(seed, capacity);
        run<heavy>(seed, capacity);
      }
  });
  EXPECT_TRUE(eventually([] { return heavy::alive == 0; }));
}

}  // namespace
}  // namespace coir::testing
