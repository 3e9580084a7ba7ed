// F55: a signal every millisecond on threads that wait in the kernel. Nothing is early, nothing is
// lost.
#include <csignal>

#include <sys/time.h>

#include <coir/sync/event.hpp>

#include "io_fixture.hpp"

namespace coir::testing {
namespace {

std::atomic<std::uint64_t> on_workers{0}, on_threads{0};
[[gnu::noinline]] void count(int) {
  const sched::host* here = sched::current_host_if_any();
  const bool worker = here != nullptr && here->kind == sched::host_kind::worker;
  ++(worker ? on_workers : on_threads);
}

void mask(int how) {
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  ::pthread_sigmask(how, &alarms, nullptr);
}

// SIGALRM at 1 kHz, without SA_RESTART, to any thread that does not block it: not the caller.
class alarms {
 public:
  alarms() {
    on_workers = on_threads = 0;
    mask(SIG_BLOCK);
    struct sigaction action {};
    action.sa_handler = &count;
    ::sigaction(SIGALRM, &action, &before_);
    const itimerval often{{0, 1000}, {0, 1000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
  }
  ~alarms() {
    const itimerval none{};
    ::setitimer(ITIMER_REAL, &none, nullptr);
    timespec at_once{};  // one may be pending
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    while (::sigtimedwait(&alarm, nullptr, &at_once) > 0) {}
    ::sigaction(SIGALRM, &before_, nullptr);
    mask(SIG_UNBLOCK);
  }
  alarms(const alarms&) = delete;
  alarms& operator=(const alarms&) = delete;

 private:
  struct sigaction before_ {};
};

// Workers block signals; here each lets SIGALRM in. As many fibers as workers, none of which gives
// its worker away before all have one.
void let_alarms_in(unsigned workers) {
  std::atomic<unsigned> there{0};
  std::vector<task<void>> all;
  for (unsigned i = 0; i < workers; ++i)
    all.push_back(spawn([&] {
      mask(SIG_UNBLOCK);
      ++there;
      while (there != workers) std::this_thread::yield();
    }));
  for (auto& t : all) t.get();
}

class interruption_test : public io_test {};
INSTANTIATE_TEST_SUITE_P(rungs, interruption_test, ::testing::ValuesIn(rungs({1, 2, 4})),
                         rung_name);

TEST_P(interruption_test, alarms_make_nothing_early_and_lose_nothing) {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> slept{0}, early{0}, echoed{0}, joined{0}, timed_out{0}, woken{0};
  const alarms ringing;
  on_fiber([&] {
    let_alarms_in(GetParam().workers);
    const auto is_early = [&](clock::time_point deadline) { early += clock::now() < deadline; };
    std::vector<task<void>> all;
    for (int i = 0; i < 8; ++i)
      all.push_back(spawn([&, i] {
        for (int n = 0; !stop; ++n) {
          const auto deadline = clock::now() + std::chrono::microseconds((n * 37 + i * 101) % 3000);
          this_fiber::sleep_until(deadline);
          is_early(deadline);
          ++slept;
        }
      }));
    for (int i = 0; i < 4; ++i) {
      auto ends = std::make_shared<std::pair<tcp_stream, tcp_stream>>(tcp_pair());
      all.push_back(spawn([ends] {
        char c[8];
        while (const std::size_t n = ends->second.read_some(c))
          ends->second.write(std::string_view(c, n));
      }));
      all.push_back(spawn([&, ends] {
        char c[4];
        while (!stop) {
          ends->first.write("ping");
          ends->first.read_exactly(c);
          echoed += std::string_view(c, 4) == "ping";
          const auto deadline = clock::now() + 300us;
          ends->first.set_read_deadline(deadline);
          std::error_code error;
          EXPECT_EQ(ends->first.read_some(c, error), 0U);
          EXPECT_EQ(error, std::errc::timed_out);
          is_early(deadline);
          ++timed_out;
          ends->first.set_read_deadline(sched::never);
        }
        ends->first.shutdown_write();
      }));
    }
    all.push_back(spawn([&] {
      while (!stop) joined += spawn([] { return this_fiber::sleep_for(200us), 1; }).get();
    }));
    // A plain thread waits as well, and is waked or gives up in time.
    event go;
    std::thread thread([&] {
      mask(SIG_UNBLOCK);
      while (!stop) {
        const auto deadline = clock::now() + 700us;
        if (go.wait_until(deadline))
          ++woken, go.reset();
        else
          is_early(deadline);
      }
    });
    const auto end = clock::now() + 2s / (sanitized ? 2 : 1);
    while (clock::now() < end) {
      this_fiber::sleep_for(1300us);
      go.set();
      ::pthread_kill(thread.native_handle(), SIGALRM);
    }
    stop = true;
    for (auto& t : all) t.get();
    thread.join();
  });
  std::printf(
      "%lu signals on workers, %lu on threads; slept %lu, echoed %lu, read deadlines %lu, joins "
      "%lu, thread wakes %lu\n",
      on_workers.load(), on_threads.load(), slept.load(), echoed.load(), timed_out.load(),
      joined.load(), woken.load());
  EXPECT_EQ(early.load(), 0U);
  EXPECT_GT(on_workers.load(), 100U) << "hardly a worker was interrupted";
  EXPECT_GT(on_threads.load(), 20U) << "hardly a thread was interrupted";
  for (const auto* made : {&slept, &echoed, &timed_out, &joined, &woken})
    EXPECT_GT(made->load(), 20U);
}

}  // namespace
}  // namespace coir::testing
