// Timeouts, shields, cancellation and exceptions, in any nesting.
#include <optional>
#include <stop_token>

#include "children.hpp"

namespace coir::testing::programs {

void under_timeout(node& n) {
  const auto until = clock::now() + n.moment() * static_cast<int>(n.random(4));
  bool returned = false, own = false, expired = false;
  clock::rep earliest = 0;
  std::exception_ptr other;
  try {
    const int value = with_deadline(until, [&](timeout_scope& s) {
      open_frame here_now(n, opened::timeout, until);
      const auto note = [&] {
        expired = s.expired();
        earliest = here_now.deadline;
      };
      try {
        steps(n, 2);
        const auto move = [&](node& by) {
          const auto next = clock::now() + by.moment();
          here_now.move_deadline(next);
          try {
            s.reschedule(next);
          } catch (const std::logic_error&) {
            by.expect(s.expired(), "a timeout that has not expired could not be moved");
          }
        };
        if (n.random(3) == 0) {
          move(n);
          steps(n, 2);
        } else if (n.level == 0 && n.fuel > 3 && !n.unwinding() && n.random(4) == 0) {
          child mover = start(n, [&](node& c) {
            leaves(c, 1);
            move(c);
          });
          steps(n, 2);
          comes_to(n, *mover.who, mover.t.id(), [&] { return mover.t.get(); });
        }
        note();
        returned = true;
        return 7;
      } catch (const cancelled& c) {
        note();
        own = n.mine(c);
        if (!own) other = std::current_exception();
        throw;
      } catch (...) {
        note();
        other = std::current_exception();
        throw;
      }
    });
    n.expect(returned && value == 7, "with_timeout lost a value");
  } catch (const timed_out&) {
    n.expect(!returned, "with_timeout lost a value, and says timed_out");
    if (other != nullptr) {
      n.expect(std::current_exception() == other, "with_timeout lost an error for timed_out");
      throw;
    }
    n.expect(own && expired, "timed_out from a timeout that has not struck");
    n.expect(clock::now().time_since_epoch().count() >= earliest, "a timeout was early");
    ++n.of.timeouts;
    if (n.random(2) == 0) throw;
  } catch (const cancelled& c) {
    n.expect(!returned, "with_timeout lost a value, and says cancelled");
    if (!n.mine(c))
      n.expect(std::current_exception() == other, "with_timeout changed another's cancellation");
    else if (!n.may_be_struck())
      n.fail("a timeout's own cancellation has left it");
    throw;
  } catch (...) {
    n.expect(std::current_exception() == other, "with_timeout changed an error");
    throw;
  }
}

void under_shield(node& n) {
  bool returned = false;
  try {
    const int value = shield([&] {
      open_frame here_now(n, opened::shield);
      steps(n, 3);
      returned = true;
      return 5;
    });
    n.expect(value == 5, "shield lost a value");
  } catch (const cancelled& c) {
    n.expect(!returned, "shield lost a value");
    n.expect(!n.mine(c), "a cancellation from inside or outside has left a shield");
    throw;
  }
}

// A cancellation that is kept, and thrown again in another scope, is not that scope's.
void keep_a_cancellation(node& n) {
  std::exception_ptr kept;
  const auto until = clock::now() + n.moment() / 2;
  with_deadline(until, [&] {
    open_frame here_now(n, opened::timeout, until);
    try {
      steps(n, 2);
    } catch (const cancelled& c) {
      if (!n.mine(c)) throw;
      kept = std::current_exception();
    }
  });
  if (kept == nullptr) return;
  const auto soon = clock::now() + n.moment() / 8;
  const bool strikes = n.random(2) == 0;  // the other timeout, too, and before
  try {
    with_deadline(strikes ? soon : clock::time_point::max(), [&] {
      open_frame here_now(n, opened::timeout, strikes ? soon : clock::time_point::max());
      try {
        if (strikes) n.block("sleep", [&] { this_fiber::sleep_until(soon + 1ms); });
      } catch (const cancelled&) {}
      std::rethrow_exception(kept);
    });
    n.fail("a kept cancellation was lost");
  } catch (const timed_out&) {
    n.fail("a kept cancellation was taken for that of another timeout");
  } catch (const cancelled& c) {
    n.expect(n.mine(c), "a kept cancellation names another fiber");
  }
}

void cancel_at_random(node& n) { n.of.cancel_somebody(n); }

void take_back(node& n) {
  const bool had = this_fiber::cancel_requested();
  const bool sure = had || n.me->asked > n.seen_asking;
  const bool took = this_fiber::uncancel();
  if (!n.of.shut_down) {
    n.expect(took || !sure, "uncancel took nothing back, and something was requested");
    n.expect(!took || n.me->may_be_cancelled() || n.may_be_struck() || n.shields > 0,
             "uncancel took back what nobody had asked for");
  }
  n.take_notice();
}

// A token that was given out before a request has stopped when that is thrown.
void watch_token(node& n) {
  const std::stop_token token = this_fiber::stop_token();
  std::atomic<int> called{0};
  const std::uint64_t before = n.deliveries;
  const auto check = [&] {
    if (n.deliveries == before) return;
    n.expect(token.stop_requested(), "a request was thrown, and the token has not stopped");
  };
  std::optional<std::stop_callback<std::function<void()>>> callback;
  callback.emplace(token, [&called] { ++called; });
  try {
    steps(n, 3);
  } catch (...) {
    check();
    throw;
  }
  check();
  const bool stopped = token.stop_requested();
  callback.reset();  // waits for a call that is under way
  n.expect(called <= 1 && (called == 1 || !stopped), "a stop callback ran twice, or never");
}

void throw_error(node& n) {
  ++n.of.errors;
  throw random_error{n.me->path, ++n.serial};
}

namespace {

int number_of(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const int i) {
    return i;
  } catch (...) {
    return -1;
  }
}

// Blocks where it is destroyed, also while an exception is under way.
struct lingering {
  explicit lingering(node& of) : n(of) { ++n.of.dropping; }
  ~lingering() {
    --n.of.dropping;
    const int exceptions = std::uncaught_exceptions();
    if (exceptions > 0) {
      swallow_all(n, [this] { leaves(n, 2); });
    } else {
      shield([this] {
        open_frame here_now(n, opened::shield);
        swallow_all(n, [this] { leaves(n, 2); });
      });
    }
    n.expect(std::uncaught_exceptions() == exceptions, "an exception under way was lost");
  }
  lingering(const lingering&) = delete;
  lingering& operator=(const lingering&) = delete;
  node& n;
};

}  // namespace

void catch_and_wait(node& n) {
  const int mark = static_cast<int>(n.random(1000));
  const int under_way = std::uncaught_exceptions();
  try {
    throw mark;
  } catch (const int i) {
    const std::exception_ptr before = std::current_exception();
    steps(n, 3);
    n.expect(i == mark, "what was caught has changed");
    n.expect(std::current_exception() == before, "another exception is being handled");
    n.expect(number_of(std::current_exception()) == mark, "the wrong exception is being handled");
    n.expect(std::uncaught_exceptions() == under_way, "an exception more or less is under way");
    try {
      throw;  // the one of this handler
    } catch (const int again) {
      n.expect(again == mark, "another exception was rethrown");
    }
  }
}

void unwind_slowly(node& n) {
  try {
    const lingering outer(n);
    const lingering inner(n);
    if (n.random(3) != 0) throw random_error{n.me->path, ++n.serial};
    steps(n, 2);
  } catch (const random_error& e) {
    n.expect(n.whose(e), "an error came from somewhere else");
    if (n.random(4) == 0) throw;
  }
}

void in_a_context(node& n) {
  const std::uint64_t before = n.context;
  {
    const auto scope = n.of.context.scoped(before + 1 + n.random(1000));
    n.context = n.of.context.get();
    n.expect(n.context != before, "a context variable was not set");
    struct restore {
      node& of;
      std::uint64_t to;
      ~restore() { of.context = to; }
    } back{n, before};
    steps(n, 2);
  }
  n.expect(n.of.context.get() == before, "a context variable was not restored");
}

}  // namespace coir::testing::programs
