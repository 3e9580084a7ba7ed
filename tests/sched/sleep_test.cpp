// A worker that falls asleep and a push that nobody tells it of, because it was made while the
// worker was no sleeper: its last look has to find it. The push is forced into that gap.
#include <coir/sched/spin_lock.hpp>
#include <coir/sched/wait_queue.hpp>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "runtime_fixture.hpp"

namespace coir::testing {
namespace {

// Asks the test when a worker that has found nothing is about to sleep: what it is asked then lies
// between its look at the injector and its entry into the list of sleepers.
class asking_driver final : public sched::driver {
 public:
  asking_driver(std::unique_ptr<sched::driver> d, std::function<void()>& ask)
      : in_(std::move(d)), ask_(ask) {}
  sched::completion_contract contract() const noexcept override { return in_->contract(); }
  void attach() override { in_->attach(); }
  void detach() noexcept override { in_->detach(); }
  void poll(sched::ready_list& r) noexcept override { in_->poll(r); }
  void wait(clock::time_point until, sched::ready_list& r) noexcept override {
    in_->wait(until, r);
  }
  void interrupt() noexcept override { in_->interrupt(); }
  bool busy() const noexcept override {
    ask_();
    return in_->busy();
  }

 private:
  const std::unique_ptr<sched::driver> in_;
  std::function<void()>& ask_;
};
class asking_factory final : public sched::driver_factory {
 public:
  explicit asking_factory(std::function<void()>& ask) : ask_(ask) {}
  std::unique_ptr<sched::driver> make() override {
    return std::make_unique<asking_driver>(in_->make(), ask_);
  }
  const char* name() const noexcept override { return "asking"; }
  const char* reason() const noexcept override { return "a test wants it"; }

 private:
  std::unique_ptr<sched::driver_factory> in_ = sched::make_futex_drivers();
  std::function<void()>& ask_;
};

TEST(sleep_test, a_push_that_comes_before_the_worker_is_a_sleeper_is_found) {
  runtime* made = nullptr;
  constexpr std::uint64_t pushes = 50;
  std::atomic<std::uint64_t> pushed{0}, ran{0};
  std::uint64_t seen = 0;  // of ran, when the worker asked last
  const auto push = [&] {
    ++pushed;
    std::thread([&] { made->spawn([&] { ++ran; }).detach(); }).join();
  };
  // It asks once a turn and once before it sleeps: the second time in a row that nothing has run.
  std::function<void()> ask = [&] {
    const bool idle = pushed != 0 && ran == pushed && ran == seen;
    seen = ran;
    if (idle && pushed < pushes) push();
  };
  options o;
  o.workers = 1;
  o.idle_poll = 0us;
  runtime r(o, sched::parts(std::make_unique<asking_factory>(ask)));
  made = &r;
  push();
  if (eventually([&] { return ran == pushes; })) return;
  std::fprintf(stderr, "%llu of %llu jobs ran: the worker sleeps on the last\n",
               static_cast<unsigned long long>(ran), static_cast<unsigned long long>(pushed));
  std::abort();  // its runtime could not end
}

// Whoever has claimed it still touches the waiter: the deadline comes too late.
TEST(thread_sleep, a_thread_whose_wait_was_claimed_stays_past_its_deadline_for_the_wake) {
  sched::spin_lock lock;
  sched::wait_queue queue;
  for (int round = 0; round < 3; ++round) {
    std::atomic<bool> returned{false};
    std::atomic<int> how{-1};
    const auto deadline = clock::now() + 100ms;
    std::thread waiting([&] {
      static_cast<void>(sched::current_host());
      lock.lock();
      sched::wait_node node;
      how =
          static_cast<int>(sched::wait_in(queue, lock, node, {sched::wait_kind::event}, deadline));
      returned = true;
    });
    sched::waiter* claimed = nullptr;
    while (claimed == nullptr && !returned) {
      lock.lock();
      claimed = queue.claim_first();
      lock.unlock();
    }
    if (claimed != nullptr) {  // null: this thread did not run for 100 ms
      while (clock::now() < deadline + 50ms && !returned) std::this_thread::yield();
      EXPECT_FALSE(returned.load()) << "it has gone before its wake";
      sched::wake(*claimed);
    }
    waiting.join();
    EXPECT_EQ(how.load(), static_cast<int>(claimed != nullptr ? sched::outcome::granted
                                                              : sched::outcome::timed_out));
  }
}

}  // namespace
}  // namespace coir::testing
