// Records, their stores and the results in them: all go, though requests are still under way when
// their runtime ends, and no destructor of a result runs on a worker's loop.
#include <coir/sched/cancelled.hpp>
#include <coir/sync/event.hpp>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "runtime_fixture.hpp"
#include "sched/record_store.hpp"

namespace {
// A store is the only thing of its size in these tests.
std::atomic<int> stores{0};
// Without it a delete does not say how much goes, and the stores are not known.
#if defined(__cpp_sized_deallocation)
constexpr bool counted_stores = true;
#else
constexpr bool counted_stores = false;
#endif
}  // namespace

void* operator new(std::size_t size) {
  if (size == sizeof(coir::sched::record_store)) ++stores;
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t size) noexcept {
  if (size == sizeof(coir::sched::record_store)) --stores;
  std::free(p);
}

namespace coir::testing {
namespace {

struct counted {
  static inline std::atomic<int> alive{0};
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  ~counted() { --alive; }
};

// Threads cancel through handles as fast as they can until the runtime has gone, so that many a
// request arrives after its worker's last look.
template <class Spawn>
std::uint64_t cancel_while_it_ends(int rounds, Spawn&& spawn_into) {
  std::uint64_t asked = 0;
  for (int round = 0; round < rounds; ++round) {
    auto r = make_runtime(2);
    auto all = spawn_into(*r);
    std::atomic<int> begun{0};
    std::atomic<bool> gone{false};
    std::atomic<std::uint64_t> requests{0};
    std::vector<std::thread> cancellers;
    for (int i = 0; i < 2; ++i)
      cancellers.emplace_back([&] {
        ++begun;
        while (!gone)
          for (auto& t : all) requests += t.cancel();
      });
    EXPECT_TRUE(eventually([&] { return begun == 2; }));
    r.reset();
    gone = true;
    for (auto& c : cancellers) c.join();
    asked += requests;
  }
  return asked;
}

TEST(record_test, stores_and_results_go_though_cancellations_are_under_way_at_the_end) {
  const int before = stores;
  const int rounds = sanitized ? 40 : 200;
  const std::uint64_t asked = cancel_while_it_ends(rounds, [](runtime& r) {
    std::vector<task<counted>> all;
    for (int i = 0; i < 8; ++i)
      all.push_back(r.spawn([] {
        try {
          this_fiber::sleep_for(1h);
        } catch (const cancelled&) {}
        return counted();
      }));
    return all;
  });
  std::printf("%d runtimes ended under %llu requests\n", rounds,
              static_cast<unsigned long long>(asked));
  EXPECT_TRUE(!counted_stores || stores == before) << stores << " stores of records are left";
  EXPECT_EQ(counted::alive, 0) << "results are left";
}

TEST(record_test, a_store_goes_with_the_last_handle) {
  const int before = stores;
  auto r = make_runtime(2);
  EXPECT_EQ(stores, before + 1) << "another thing has its size";
  auto kept = r->spawn([] { return counted(); });
  kept.wait();
  r.reset();
  EXPECT_TRUE(!counted_stores || stores == before + 1);
  EXPECT_EQ(counted::alive, 1);
  kept = {};
  EXPECT_TRUE(!counted_stores || stores == before);
  EXPECT_EQ(counted::alive, 0);
}

// The inner task is joined by the destructor of the outer one's result. In a process of its own,
// because a join on a worker's loop is a crash.
TEST(record_test, a_result_that_holds_a_task_is_destroyed_where_it_may_wait) {
  const int status = in_child(sanitized ? 60s : 20s, [] {
    struct waits {
      task<void> inner;
    };
    auto r = make_runtime(2);
    int late = 0;
    for (int i = 0; i < (sanitized ? 200 : 1000); ++i) {
      struct flags {
        std::atomic<bool> running{false}, asked{false};
      };
      const auto seen = std::make_shared<flags>();
      auto outer = r->spawn([seen] {
        auto inner = spawn([] { this_fiber::sleep_for(50us); });
        seen->running = true;
        while (!seen->asked) std::this_thread::yield();
        return waits{std::move(inner)};
      });
      while (!seen->running) std::this_thread::yield();
      late += outer.cancel();  // a message that is handled when the fiber has ended
      seen->asked = true;
      if (i % 2)
        outer.wait();
      else
        outer.detach();
    }
    r.reset();
    std::printf("%d requests came late\n", late);
    std::fflush(stdout);
    return 0;
  });
  EXPECT_EQ(status, 0) << (status < 0 ? "it died, or never ended" : "");
}

TEST(record_test, results_that_no_record_holds_are_destroyed_once) {
  struct alignas(64) large {
    counted one;
    char bytes[100'000] = {};
  };
  auto r = make_runtime(2);
  {
    auto t = r->spawn([] {
      auto l = std::make_unique<large>();
      l->bytes[99'999] = 'z';
      return *l;
    });
    t.wait();
    EXPECT_EQ(counted::alive, 1);
    const auto got = std::make_unique<large>(t.get());
    EXPECT_EQ(got->bytes[99'999], 'z');
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(got.get()) % 64, 0U);
  }
  r->spawn([] { return large{}; }).detach();
  auto never_read = r->spawn([] { return large{}; });
  never_read.wait();
  never_read = {};
  EXPECT_TRUE(eventually([] { return counted::alive == 0; })) << counted::alive.load();
}

}  // namespace
}  // namespace coir::testing
