// What the processor and the kernel leave of the workloads of coir_bench, under the same names: the
// bare switch in a ring, a stack that is taken and given back, a lock's two instructions, a thread
// that is woken. No scheduler, no queue, no task.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <coir/fiber/context.hpp>
#include <coir/fiber/stack.hpp>

#include "../flags.hpp"
#include "../histogram.hpp"
#include "../process.hpp"
#include "../report.hpp"

namespace {

using namespace bench;
using namespace coir::fiber;

constexpr std::size_t stack_bytes = 256 * 1024;

// One of a ring: each gives the thread to the next, and the last to end to who started them.
struct member {
  context self;
  member* next = nullptr;
  std::uint64_t turns = 0;
  std::atomic<unsigned>* lock = nullptr;  // held over its switch
  context* home = nullptr;
};

void run_member(carrier& on, context& self) noexcept {
  auto& me = reinterpret_cast<member&>(self);
  carrier* here = &on;
  for (; me.turns != 0; --me.turns) {
    if (me.lock != nullptr) me.lock->exchange(1, std::memory_order_acquire);
    here = &switch_context(*here, me.self, me.next->self);
    if (me.lock != nullptr) me.lock->store(0, std::memory_order_release);
  }
  switch_context(*here, me.self, *me.home, departure::parked);
  std::abort();
}

// ns for each switch.
double ring(std::size_t members, std::uint64_t turns, std::atomic<unsigned>* lock) {
  stack_pool pool;
  std::size_t got = 0;
  stack* stacks = pool.acquire(stack_pool::rounded(stack_bytes), members, got);
  carrier on;
  on.attach();
  context home;
  stack header;
  make_thread_context(home, header);
  std::vector<member> all(members);
  stack* s = stacks;
  for (std::size_t i = 0; i < members; ++i, s = s->next) {
    all[i].next = &all[(i + 1) % members];
    all[i].turns = turns;
    all[i].lock = lock;
    all[i].home = &home;
    make_context(all[i].self, *s, &run_member);
  }
  const std::uint64_t begin = now_ns();
  switch_context(on, home, all[0].self);  // comes back when the first has had its turns
  const auto spent = static_cast<double>(now_ns() - begin);
  pool.release(stacks);
  return spent / static_cast<double>(members * turns);
}

struct guest {
  context self;
  context* home = nullptr;
};

void end_at_once(carrier& on, context& self) noexcept {
  switch_context(on, self, *reinterpret_cast<guest&>(self).home, departure::ended);
  std::abort();
}

double start_and_end(std::uint64_t count) {
  stack_pool pool;
  stack_cache stacks(pool, stack_pool::rounded(stack_bytes));
  carrier on;
  on.attach();
  context home;
  stack header;
  make_thread_context(home, header);
  guest one;
  one.home = &home;
  const std::uint64_t begin = now_ns();
  for (std::uint64_t n = count; n != 0; --n) {
    stack* s = stacks.take(stack_pool::rounded(stack_bytes));
    make_context(one.self, *s, &end_at_once);
    switch_context(on, home, one.self);
    stacks.put(s);
  }
  return static_cast<double>(now_ns() - begin) / static_cast<double>(count);
}

void futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, nullptr, nullptr,
            0);
}

// From the store that the other thread waits for until it has seen it: asleep, or looking.
double wake(bool asleep, std::uint64_t count) {
  std::atomic<std::uint32_t> go{0}, received{0};
  std::atomic<std::uint64_t> sent{0};
  histogram latency;
  std::thread waiter([&] {
    pin_this_thread(1);
    for (std::uint32_t i = 1; i <= count; ++i) {
      while (go.load() != i)
        if (asleep) futex(go, FUTEX_WAIT_PRIVATE, i - 1);
      latency.add(now_ns() - sent.load());
      received.store(i);
    }
  });
  pin_this_thread(0);
  for (std::uint32_t i = 1; i <= count; ++i) {
    const std::uint64_t end = now_ns() + (asleep ? 30'000 : 5'000);
    while (now_ns() < end) {}
    sent.store(now_ns());
    go.store(i);
    if (asleep) futex(go, FUTEX_WAKE_PRIVATE, 1);
    while (received.load() != i) {}
  }
  waiter.join();
  return latency.percentile(0.5) / 1000;
}

// A million sleepers of up to a second: the second, and a fresh page for each stack.
double sleepers(std::size_t pages) {
  constexpr std::size_t page = 4096;
  void* memory =
      ::mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  ::madvise(memory, pages * page, MADV_NOHUGEPAGE);
  const std::uint64_t begin = now_ns();
  for (std::size_t i = 0; i < pages; ++i) static_cast<volatile char*>(memory)[i * page] = 1;
  const auto spent = static_cast<double>(now_ns() - begin);
  ::munmap(memory, pages * page);
  return 1 + spent / 1e9;
}

void measure(const std::string& workload, std::uint64_t scale) {
  std::atomic<unsigned> lock{0};
  if (workload == "yield")
    for (const std::size_t n : {2u, 200u, 1000u})
      report("yield_" + std::to_string(n) + "_t1", ring(n, 20'000 * scale / n, nullptr), "ns");
  if (workload == "spawn_join") report("spawn_join_t1", start_and_end(5'000 * scale), "ns");
  if (workload == "mutex") report("mutex_t1", ring(100, 100 * scale, &lock), "ns");
  // There and back: two switches, and a lock for each push and each pop.
  if (workload == "channel_ping_pong") report(workload, 2 * ring(2, 5'000 * scale, &lock), "ns");
  if (workload == "wake") {
    report("wake_sleeping_p50", wake(true, 10 * scale), "us");
    report("wake_polling_p50", wake(false, 10 * scale), "us");
  }
  if (workload == "sleepers") report("sleepers_wall_t1", sleepers(1'000 * scale), "s");
}

}  // namespace

int main(int argc, char** argv) {
  const flags given(argc, argv, "[WORKLOAD...] [OPTION...]",
                    {{"pin", "", "to the first processor"}, {"quick", "", "does it run at all?"}});
  const std::vector<std::string> all{"yield", "spawn_join",        "mutex",
                                     "wake",  "channel_ping_pong", "sleepers"};
  // Never the first thread: what it may use is what the others' places are counted in.
  std::thread([&] {
    if (given.has("pin")) pin_this_thread(0);
    for (const std::string& w : given.words().empty() ? all : given.words())
      measure(w, given.has("quick") ? 1 : 1'000);
  }).join();
}
