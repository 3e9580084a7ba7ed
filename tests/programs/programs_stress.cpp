// Random programs: trees of structured scopes that do everything the library offers, in any
// nesting, drawn from a seed. Nothing is lost or doubled, errors and cancellations arrive where
// they belong and only there, and every program ends. COIR_TEST_SEED repeats one, as far as who
// comes first does; the failures name it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "children.hpp"
#include "tests/io/io_fixture.hpp"

namespace coir::testing {
namespace {

using namespace programs;

// Stops the process, with what every fiber waits for, if a program stands still.
class guardian {
 public:
  guardian(world& w, const std::vector<std::unique_ptr<runtime>>& in)
      : thread_([this, &w, &in] { look_after(w, in); }) {}
  ~guardian() {
    {
      std::lock_guard lock(mutex_);
      end_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  guardian(const guardian&) = delete;
  guardian& operator=(const guardian&) = delete;

 private:
  void look_after(world& w, const std::vector<std::unique_ptr<runtime>>& in) {
    std::unique_lock lock(mutex_);
    for (std::uint64_t last = ~0U;; last = w.progress) {
      if (changed_.wait_for(lock, sanitized ? 120s : 40s, [this] { return end_; })) return;
      if (w.progress != last) continue;
      std::fprintf(stderr, "COIR_TEST_SEED=%llu stands still after %llu blocking calls\n",
                   static_cast<unsigned long long>(w.seed), static_cast<unsigned long long>(last));
      for (const auto& r : in) r->dump(std::cerr);
      std::abort();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool end_ = false;  // under mutex_
  std::thread thread_;
};

std::optional<std::uint64_t> wanted_seed() {
  const char* const text = std::getenv("COIR_TEST_SEED");
  if (text == nullptr) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

class programs_stress : public ::testing::TestWithParam<rung> {
 protected:
  // Errors that nobody read: of those that were dropped or detached.
  static void unhandled(const std::exception_ptr&, std::string_view) {}

  static void on_a_thread(world& w, const std::shared_ptr<identity>& who) {
    node n(who, 40, 1);
    while (n.fuel > 0)
      swallow_all(n, [&] {
        leaves(n, 3);
        if (n.random(4) != 0) return;
        seedling s = sow(n);
        s.context = n.context;
        auto child_of_thread = s.who;
        child c(child_of_thread, w.rt.spawn(std::move(s)));
        leaves(n, 2);
        if (n.random(3) == 0) ask(c.who, c.t);
        comes_to(n, *c.who, c.t.id(), [&] { return c.t.get(); });
      });
  }

  // Strikes while the others are at it, wherever they are.
  static void cancel_again_and_again(world& w, const std::shared_ptr<identity>& who) {
    node n(who, 0, 1);
    for (std::uint32_t i = 20 + n.random(200); i > 0; --i) {
      w.cancel_somebody(n);
      n.random.spin(40'000);
    }
  }

  static options some_options(dice& random) {
    options o;
    o.workers = GetParam().workers;
    o.reactor = GetParam().kind;
    o.on_unhandled = unhandled;
    if (random(4) == 0) o.idle_poll = 0us;
    if (random(4) == 0) o.blocking_threads = 1;
    if (random(8) == 0) o.measure_stacks = true;
    return o;
  }

  struct first_fiber {
    first_fiber(world& w, runtime& in, std::uint32_t index, dice& random)
        : who(std::make_shared<identity>(w, nullptr, index, nullptr)),
          t(in.spawn(seedling{who, 200 + random(random(4) == 0 ? 4000 : 600), 0, 0, {}})) {}
    std::shared_ptr<identity> who;
    task<token> t;
  };

  // The trees of one program, each in a runtime of its own, and the threads; until all have ended.
  static void run_trees(world& w, const std::vector<std::unique_ptr<runtime>>& in, dice& random) {
    const bool ends_early = random(5) == 0;
    std::vector<first_fiber> roots;
    for (const auto& r : in) {
      roots.emplace_back(w, *r, static_cast<std::uint32_t>(50 + roots.size()), random);
      if (!ends_early) w.enlist(roots.back().who, task_ref(roots.back().t));
    }
    std::vector<std::thread> threads;
    for (std::uint32_t i = random(3); i > 0; --i)
      threads.emplace_back([&w, who = std::make_shared<identity>(w, nullptr, i, nullptr)] {
        who->seed % 3 == 0 ? cancel_again_and_again(w, who) : on_a_thread(w, who);
      });
    if (ends_early) {
      std::this_thread::sleep_for(std::chrono::microseconds(random(3'000)));
      w.shut_down = true;
      const bool all = random(2) == 0;  // or one, under the others' hands
      for (std::size_t i = 0; i < (all ? in.size() : 1); ++i) in[i]->shutdown();
    }
    for (first_fiber& f : roots) f.t.wait();
    for (auto& t : threads) t.join();
  }

  static void expect_nothing_left(world& w, const runtime& r) {
    // Calls that were put off, and fibers that nobody waits for.
    if (!eventually([&] { return r.metrics().fibers_alive == 0; }, 60s))
      w.fail("runtime", "a fiber is left");
    for (const fiber_info& f : r.fibers()) w.fail(f.name, "is left, and waits for " + f.waits_for);
    if (!eventually([&] { return r.metrics().io_in_flight == 0; }))
      w.fail("runtime", "an operation is left in flight");
  }

  void run_program(std::uint64_t seed) {
    const std::size_t descriptors = open_descriptors();
    dice random(static_cast<std::uint32_t>(seed));
    {
      std::vector<std::unique_ptr<runtime>> in;
      for (int i = random(3) == 0 ? 2 : 1; i > 0; --i)
        in.push_back(std::make_unique<runtime>(some_options(random)));
      world w(*in[0], seed);
      {
        const guardian guard(w, in);
        run_trees(w, in, random);
        for (const auto& r : in) expect_nothing_left(w, *r);
        w.check_end();
      }
      steps_ += w.steps;
      nodes_ += w.spawned;
      cancels_ += w.cancels;
      timeouts_ += w.timeouts;
    }
    if (open_descriptors() != descriptors)
      ADD_FAILURE() << "COIR_TEST_SEED=" << seed << ": a descriptor is left";
  }

  std::uint64_t steps_ = 0, nodes_ = 0, cancels_ = 0, timeouts_ = 0;
};

INSTANTIATE_TEST_SUITE_P(rungs, programs_stress, every_rung(), rung_name);

TEST_P(programs_stress, random_programs_lose_nothing_and_end) {
  const auto wanted = wanted_seed();
  std::uint64_t seed = wanted.value_or(std::random_device{}());
  const auto until = std::chrono::steady_clock::now() + stress_time(250ms);
  std::uint64_t programs = 0;
  const std::uint64_t first = seed;
  do {
    run_program(seed);
    ++programs;
    if (!wanted) ++seed;
  } while (std::chrono::steady_clock::now() < until && !HasFailure());
  std::printf(
      "%llu programs from seed %llu on: %llu nodes, %llu steps, %llu cancelled at random, "
      "%llu timeouts\n",
      static_cast<unsigned long long>(programs), static_cast<unsigned long long>(first),
      static_cast<unsigned long long>(nodes_), static_cast<unsigned long long>(steps_),
      static_cast<unsigned long long>(cancels_), static_cast<unsigned long long>(timeouts_));
}

}  // namespace
}  // namespace coir::testing
