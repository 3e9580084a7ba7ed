// Time, threads, stacks and coroutines.
#include <cerrno>
#include <cfenv>
#include <coroutine>
#include <cstring>
#include <thread>

#include <coir/coroutine/coroutine.hpp>
#include <coir/coroutine/generator.hpp>
#include <coir/sched/big_stack.hpp>
#include <coir/sched/guards.hpp>
#include <coir/sched/offload.hpp>
#include <coir/sched/timer.hpp>
#include <coir/sync/future.hpp>
#include <coir/sync/offload_async.hpp>

#include "children.hpp"

namespace coir::testing::programs {
namespace {

// Each looks anew where the number of this thread lies.
[[gnu::noinline]] void set_number(int n) { errno = n; }
[[gnu::noinline]] int number() { return errno; }
[[gnu::noinline]] std::thread::id this_thread() { return std::this_thread::get_id(); }

// Around code with exceptions of its own, which is unwinding all the same if its caller is.
struct elsewhere {
  explicit elsewhere(node& n) : of(n), by(n.unwinding() ? 1 : 0) { of.callers_unwind += by; }
  ~elsewhere() { of.callers_unwind -= by; }
  elsewhere(const elsewhere&) = delete;
  elsewhere& operator=(const elsewhere&) = delete;
  node& of;
  const int by;
};

}  // namespace

void sleep_or_yield(node& n) {
  switch (n.random(4)) {
    case 0: {
      const auto until = clock::now() + n.moment() / 4;
      n.block("sleep", [&] { this_fiber::sleep_until(until); });
      return n.expect(clock::now() >= until, "a sleep was too short");
    }
    case 1:
      return n.random.spin(2000);
    case 2:
      if (n.unwinding() || n.shields > 0 || !n.on_fiber) return;
      return n.block("check_cancelled", [] { this_fiber::check_cancelled(); });
    default:
      return n.block("yield", [] { this_fiber::yield(); });
  }
}

void keep_number(node& n) {
  const int mine = 1 + static_cast<int>(n.random(100));
  const int before = std::fegetround();
  const int rounding = n.random(2) == 0 ? FE_UPWARD : FE_TONEAREST;
  std::fesetround(rounding);
  struct back {
    int to;
    ~back() { std::fesetround(to); }
  } restore{before};
  set_number(mine);
  n.block("yield", [] { this_fiber::yield(); });
  n.expect(!n.on_fiber || number() == mine, "the number of an error was lost at a switch");
  n.block("sleep", [&] { this_fiber::sleep_for(n.moment() / 8); });
  n.expect(!n.on_fiber || number() == mine, "the number of an error was lost in a sleep");
  n.expect(std::fegetround() == rounding, "the rounding mode was lost at a switch");
}

void on_another_stack(node& n) {
  const elsewhere chain(n);
  const int value = on_big_stack(std::size_t{400} * 1024, [&] {
    char big[300 * 1024];
    std::memset(big, 1, 64);
    big[sizeof big - 1] = 3;
    steps(n, 2);
    return big[sizeof big - 1] + big[0];
  });
  n.expect(value == 4, "a big stack has lost what lay on it");
}

void on_another_thread(node& n) {
  const std::uint32_t spins = n.random(20'000), how = n.random(6);
  world& w = n.of;
  const auto job = [&w, spins, how, context = n.context, path = n.me->path] {
    if (w.context.get() != context) w.fail(path, "offload has another context");
    dice(spins).spin(spins + 1);
    if (how == 0) throw random_error{path, 1};
    return how;
  };
  std::uint32_t got = how;
  if (n.random(2) == 0) {
    got = n.block("offload", [&] { return offload(job); });
  } else {
    auto f = offload_async(job);
    const bool came = n.patiently(
        "offload_async", [&] { got = f.get(); }, node::entry::sometimes);
    n.expect(!f.valid() || !came, "a future was got and is valid");
  }
  n.expect(got == how, "offload gave another value");
}

void stay_pinned(node& n) {
  const pin_guard here_now;
  const auto on = this_thread();
  leaves(n, 2);
  n.expect(this_thread() == on, "a pinned fiber has moved");
}

void timers(node& n) {
  world& w = n.of;
  if (n.random(3) == 0) {
    interval every(std::chrono::microseconds(20 + n.random(50)));
    for (std::uint32_t i = 1 + n.random(3); i > 0; --i) n.block("tick", [&] { every.tick(); });
    return;
  }
  const auto call = [&w] {
    w.progress.fetch_add(1, std::memory_order_relaxed);
    ++w.calls_ran;
  };
  if (n.random(2) == 0) {
    timer t = call_later(n.moment(), call);
    ++w.calls_made;
    if (n.random(2) == 0) leaves(n, 1);
    if (n.random(2) == 0 && t.cancel()) ++w.calls_dropped;
  } else {
    timer t = call_later(1h, call);
    ++w.calls_made;
    // Nobody but this node has it: it has not run.
    struct drop {
      world& of;
      timer& t;
      bool armed = true;
      ~drop() {
        if (armed && t.cancel()) ++of.calls_dropped;
      }
    } guard{w, t};
    leaves(n, 1);
    if (t.reschedule(clock::now() + n.moment())) guard.armed = n.random(2) == 0;
  }
}

namespace {

struct on_its_stack {
  explicit on_its_stack(world& w) : of(w) { ++of.dropping; }
  ~on_its_stack() {
    --of.dropping;
    node& n = node::here();
    shield([&n] {
      open_frame here_now(n, opened::shield);
      swallow_all(n, [&n] { leaves(n, 1); });
    });
  }
  on_its_stack(const on_its_stack&) = delete;
  on_its_stack& operator=(const on_its_stack&) = delete;
  world& of;
};

// Answers each number with the next. Whoever resumes it does what it does.
counter count(world& w, std::uint32_t seed) {
  return counter([&w, seed](auto& yield, int first) {
    const on_its_stack counted(w);
    dice random(seed);
    int value = first;
    for (std::uint32_t i = 0; i < 6; ++i) {
      if (random(3) == 0)
        steps(node::here(), 2);
      else
        leaves(node::here(), 2);
      const int under_way = std::uncaught_exceptions();
      switch (random(3)) {
        case 0:
          try {
            throw static_cast<int>(i);
          } catch (const int caught) {
            const auto e = std::current_exception();
            value = yield(value + 1);
            node::here().expect(caught == static_cast<int>(i) && std::current_exception() == e,
                                "a coroutine has another's exception");
          }
          break;
        case 1:  // from a stack of its own, which goes along
          value = on_big_stack(std::size_t{64} * 1024, [&] { return yield(value + 1); });
          break;
        default:
          value = yield(value + 1);
      }
      node::here().expect(std::uncaught_exceptions() == under_way,
                          "a coroutine has another's exceptions under way");
    }
    return value + 1;
  });
}

// Whether it may be resumed again.
bool resume_once(node& n, counter& c) {
  if (c.status() == coroutine_status::dead) return false;
  const elsewhere chain(n);
  const int value = static_cast<int>(n.random(1000));
  const int under_way = std::uncaught_exceptions();
  try {
    const std::optional<int> next = c.resume(value);
    n.expect(next == value + 1, "a coroutine answered something else");
  } catch (...) {
    n.expect(c.status() == coroutine_status::dead, "an error left a coroutine that lives");
    throw;
  }
  n.expect(&node::here() == &n, "a coroutine returned to another fiber");
  n.expect(std::uncaught_exceptions() == under_way, "a coroutine took an exception along");
  return true;
}

}  // namespace

void resume_coroutine(node& n) {
  counter c = count(n.of, n.random(1000));
  for (std::uint32_t i = n.random(9); i > 0; --i)
    if (!resume_once(n, c)) return;
  if (n.random(2) == 0 && !n.unwinding()) c.close();
}

// Begun here, resumed by another fiber, which may be cancelled in it, and ended here.
void hand_coroutine_on(node& n) {
  const auto c = std::make_shared<counter>(count(n.of, n.random(1000)));
  resume_once(n, *c);
  child other = start(n, [c](node& r) {
    for (std::uint32_t i = 1 + r.random(3); i > 0; --i)
      if (!resume_once(r, *c)) return;
    leaves(r, 1);
  });
  steps(n, 1);
  if (n.random(3) == 0) ask(other.who, other.t);
  comes_to(n, *other.who, other.t.id(), [&] { return other.t.get(); });
  while (n.random(3) != 0)
    if (!resume_once(n, *c)) break;
}

// One that others have begun, or a new one: resumed, and left for the next, who may be a thread.
void resume_wanderer(node& n) {
  world& w = n.of;
  const std::uint32_t place = n.random(static_cast<std::uint32_t>(w.wanderers.size()));
  counter c;
  {
    std::lock_guard lock(w.wanderers_mutex);
    c = std::move(w.wanderers[place]);
  }
  if (c.status() == coroutine_status::dead) c = count(w, n.random(1000));
  for (std::uint32_t i = 1 + n.random(2); i > 0; --i) resume_once(n, c);
  {
    std::lock_guard lock(w.wanderers_mutex);
    w.wanderers[place].swap(c);
  }
}

void generate(node& n) {
  const std::uint32_t many = n.random(6), stop = n.random(6);
  std::uint32_t next = 0;
  world& w = n.of;
  const auto numbers = [&w, many](auto& yield) {
    const on_its_stack counted(w);
    for (std::uint32_t i = 0; i < many; ++i) {
      leaves(node::here(), 1);
      yield(i);
    }
  };
  if (n.unwinding()) return;
  for (const std::uint32_t v : generator<std::uint32_t>(numbers)) {
    n.expect(v == next, "a generator left one out");
    if (++next > stop) return;
    leaves(n, 1);
  }
  n.expect(next == many, "a generator ended early");
}

}  // namespace coir::testing::programs
