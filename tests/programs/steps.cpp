#include "steps.hpp"

#include <array>

#include <coir/sync/future.hpp>

namespace coir::testing::programs {
namespace {

struct choice {
  operation run;
  std::uint32_t weight;
  bool joins;  // may wait for another node's end: not while it holds a lock
  bool needs_fiber;
  bool while_unwinding;
};

constexpr std::array choices{
    choice{join_child, 8, true, true, false},
    choice{join_group, 4, true, true, false},
    choice{body_of_group, 4, true, true, false},
    choice{gather_children, 4, true, true, false},
    choice{await_some, 2, true, true, false},
    choice{futures, 3, true, true, false},
    choice{producers_and_consumers, 2, true, true, false},
    choice{meet_at_a_barrier, 2, true, true, false},
    choice{listeners, 2, true, true, false},
    choice{bytes_through_a_stream, 2, true, true, false},
    choice{hand_coroutine_on, 2, true, true, false},
    choice{under_timeout, 10, false, true, true},
    choice{under_shield, 5, false, true, true},
    choice{keep_a_cancellation, 4, false, true, false},
    choice{cancel_at_random, 4, false, false, true},
    choice{take_back, 2, false, true, false},
    choice{watch_token, 4, false, true, false},
    choice{throw_error, 1, false, false, false},
    choice{catch_and_wait, 4, false, false, true},
    choice{unwind_slowly, 4, false, false, true},
    choice{in_a_context, 4, false, false, true},
    choice{lock_something, 8, false, false, true},
    choice{wait_for_condition, 4, false, false, true},
    choice{hold_permits, 4, false, false, true},
    choice{signals, 4, false, false, true},
    choice{push_item, 5, false, false, true},
    choice{pop_item, 5, false, false, true},
    choice{select_item, 4, false, false, true},
    choice{sleep_or_yield, 10, false, false, true},
    choice{keep_number, 3, false, false, true},
    choice{on_another_stack, 2, false, false, true},
    choice{on_another_thread, 2, false, true, false},
    choice{stay_pinned, 3, false, false, true},
    choice{timers, 3, false, true, false},
    choice{resume_coroutine, 4, false, false, true},
    choice{resume_wanderer, 4, false, false, true},
    choice{generate, 3, false, false, true},
};

bool may(const node& n, const choice& c, bool leaf) {
  if (c.joins && (leaf || n.level > 0 || n.depth >= 5 || n.fuel < 3)) return false;
  if (c.needs_fiber && !n.on_fiber) return false;
  return c.while_unwinding || !n.unwinding();
}

void step(node& n, bool leaf) {
  if (n.fuel == 0 || n.nesting >= 6) return;
  --n.fuel;
  n.of.steps.fetch_add(1, std::memory_order_relaxed);
  std::uint32_t all = 0;
  for (const choice& c : choices)
    if (may(n, c, leaf)) all += c.weight;
  std::uint32_t at = n.random(all);
  for (const choice& c : choices) {
    if (!may(n, c, leaf)) continue;
    if (at < c.weight) {
      struct nested {
        explicit nested(node& of) : n(of) { ++n.nesting; }
        ~nested() { --n.nesting; }
        node& n;
      } deeper(n);
      return c.run(n);
    }
    at -= c.weight;
  }
}

// What has come to a node is its own, or of those that it has started.
void check_error_came_right(node& n, const random_error& e) {
  if (!n.whose(e)) n.fail("an error of " + e.path + " came here");
}

}  // namespace

void steps(node& n, unsigned at_most) {
  for (std::uint32_t i = n.random(at_most + 1); i > 0; --i) step(n, false);
}
void leaves(node& n, unsigned at_most) {
  for (std::uint32_t i = n.random(at_most + 1); i > 0; --i) step(n, true);
}

void swallow_all(node& n, const std::function<void()>& f) {
  try {
    f();
  } catch (const random_error& e) {
    check_error_came_right(n, e);
  } catch (const cancelled& c) {
    n.expect(!n.mine(c), "a cancellation came where none may");
  } catch (...) {}
}

void live(node& n) {
  while (n.fuel > 0) {
    bool goes_on = n.random(3) != 0;
    try {
      step(n, false);
    } catch (const cancelled& c) {
      if (n.mine(c) && n.of.shut_down) goes_on = false;
      if (!goes_on) throw;
    } catch (const random_error& e) {
      check_error_came_right(n, e);
      if (!goes_on) throw;
    } catch (...) {
      if (!goes_on) throw;
    }
  }
}

}  // namespace coir::testing::programs
