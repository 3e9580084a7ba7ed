// Locks, counts, queues and channels that all nodes share.
#include <mutex>
#include <optional>
#include <shared_mutex>

#include <coir/sync/select.hpp>

#include "steps.hpp"

namespace coir::testing::programs {
namespace {

struct at_level {
  at_level(node& n, unsigned l) : of(n), before(std::exchange(n.level, l)) {}
  ~at_level() { of.level = before; }
  node& of;
  unsigned before;
};
struct counted_in {
  explicit counted_in(std::atomic<int>& n) : count(n), was(n++) {}
  ~counted_in() { --count; }
  std::atomic<int>& count;
  const int was;
};

template <class M>
bool acquire(node& n, M& m, const char* what) {
  switch (n.random(4)) {
    case 0:
      return m.try_lock();
    case 1:
      return n.block(what, [&] { return m.try_lock_for(n.moment()); });
    default:
      n.block(what, [&] { m.lock(); });
      return true;
  }
}
template <class M>
bool acquire_shared(node& n, M& m, const char* what) {
  switch (n.random(4)) {
    case 0:
      return m.try_lock_shared();
    case 1:
      return n.block(what, [&] { return m.try_lock_shared_for(n.moment()); });
    default:
      n.block(what, [&] { m.lock_shared(); });
      return true;
  }
}

template <class M>
void write_inside(node& n, guarded<M>& g, unsigned level) {
  const at_level here_now(n, level);
  const counted_in in(g.inside);
  n.expect(in.was == 0, "two are inside of one lock");
  n.expect(g.readers == 0, "a writer is inside with readers");
  ++g.entries;
  const std::uint64_t before = g.plain;
  leaves(n, 2);
  n.expect(g.plain == before, "another wrote under this node's lock");
  g.plain = before + 1;
}

// What is thrown in write_inside before the count is one entry less.
template <class M>
void exclusively(node& n, guarded<M>& g, unsigned level, const char* what) {
  if (!acquire(n, g.lock, what)) return;
  const std::unique_lock held(g.lock, std::adopt_lock);
  const std::uint64_t before = g.plain;
  try {
    write_inside(n, g, level);
  } catch (...) {
    n.expect(g.plain == before, "another wrote under this node's lock");
    g.plain = before + 1;
    throw;
  }
}

void shared(node& n, guarded<shared_mutex>& g, unsigned level) {
  if (n.random(3) == 0) {
    if (!acquire(n, g.lock, "shared_mutex")) return;
    std::uint64_t before = 0;
    {
      std::unique_lock held(g.lock, std::adopt_lock);
      before = g.plain;
      g.plain = before + 1;
      ++g.entries;
      const counted_in in(g.inside);
      n.expect(in.was == 0, "two are inside of one shared_mutex");
      held.release();
    }
    g.lock.unlock_and_lock_shared();
  } else if (!acquire_shared(n, g.lock, "shared_mutex, shared")) {
    return;
  }
  const std::shared_lock held(g.lock, std::adopt_lock);
  const at_level here_now(n, level);
  const counted_in in(g.readers);
  const std::uint64_t before = g.plain;
  n.expect(g.inside == 0, "a reader is inside with a writer");
  leaves(n, 2);
  n.expect(g.plain == before && g.inside == 0, "somebody wrote while this node was reading");
}

void recursively(node& n) {
  auto& g = n.of.recursive;
  if (!acquire(n, g.lock, "recursive_mutex")) return;
  const std::unique_lock held(g.lock, std::adopt_lock);
  {
    const at_level here_now(n, 5);
    leaves(n, 1);
  }
  if (!acquire(n, g.lock, "recursive_mutex again"))
    return n.expect(false, "a recursive_mutex refuses its owner");
  const std::unique_lock again(g.lock, std::adopt_lock);
  const std::uint64_t before = g.plain;
  try {
    write_inside(n, g, 5);
  } catch (...) {
    g.plain = before + 1;
    throw;
  }
}

}  // namespace

void lock_something(node& n) {
  world& w = n.of;
  const unsigned which = n.random(7);
  constexpr unsigned levels[] = {1, 2, 3, 4, 3, 4, 5};
  if (levels[which] <= n.level) return;
  switch (which) {
    case 0:
    case 1:
      return exclusively(n, w.mutexes[which], which + 1, "mutex");
    case 2:
    case 3:
      return exclusively(n, w.shared_mutexes[which - 2], which + 1, "shared_mutex");
    case 4:
    case 5:
      return shared(n, w.shared_mutexes[which - 4], which - 1);
    default:
      return recursively(n);
  }
}

void wait_for_condition(node& n) {
  world& w = n.of;
  const bool any = n.random(2) == 0;
  if (n.level >= (any ? 4U : 2U)) return;
  const auto run = [&](auto& g, auto& condition, std::uint64_t& told, unsigned level) {
    if (!acquire(n, g.lock, "the lock of a condition")) return;
    std::unique_lock held(g.lock, std::adopt_lock);
    const at_level here_now(n, level);
    if (n.random(2) == 0) {
      ++told;
      n.random(2) == 0 ? condition.notify_one() : condition.notify_all();
      return;
    }
    const std::uint64_t before = told;
    const auto more = [&] { return told != before; };
    const auto check = [&] { n.expect(held.owns_lock(), "a wait returned without its lock"); };
    try {
      if (n.random(2) == 0) {
        const bool came =
            n.block("condition", [&] { return condition.wait_for(held, n.moment(), more); });
        n.expect(came == more(), "a timed wait says the contrary of its predicate");
      } else if (n.patiently("condition", [&] { condition.wait(held, more); })) {
        n.expect(more(), "a wait returned, and its predicate does not hold");
      }
    } catch (...) {
      check();
      throw;
    }
    check();
    const counted_in in(g.inside);
    n.expect(in.was == 0, "two are inside after a condition's wait");
  };
  if (any)
    run(w.shared_mutexes[1], w.any_condition, w.any_told, 4);
  else
    run(w.mutexes[1], w.condition, w.told, 2);
}

void hold_permits(node& n) {
  world& w = n.of;
  if (n.level >= 6) return;
  unsigned many = 1 + n.random(world::permits);
  switch (n.random(3)) {
    case 0:
      if (!w.semaphore.try_acquire(many)) return;
      break;
    case 1:
      many = 1;
      if (!n.block("semaphore, a while", [&] { return w.semaphore.try_acquire_for(n.moment()); }))
        return;
      break;
    default:
      n.block("semaphore", [&] { w.semaphore.acquire(many); });
  }
  struct held {
    held(world& in, unsigned n) : of(in), many(n), out(in.permits_out += n) {}
    ~held() {
      of.permits_out -= many;
      of.semaphore.release(many);
    }
    world& of;
    const unsigned many, out;
  } permits(w, many);
  n.expect(permits.out <= world::permits, "more permits are out than there are");
  const at_level here_now(n, 6);
  leaves(n, 2);
}

void signals(node& n) {
  world& w = n.of;
  switch (n.random(5)) {
    case 0:
      return w.gate.set();
    case 1:
      return w.gate.reset();
    case 2:
      if (n.random(2) == 0)
        static_cast<void>(n.patiently("event", [&] { w.gate.wait(); }));
      else
        n.block("event, a while", [&] { w.gate.wait_for(n.moment()); });
      return;
    case 3:
      ++w.rung;
      return w.bell.notify_one();
    default:
      if (n.block("notifier, a while", [&] { return w.bell.wait_for(n.moment()); })) ++w.heard;
  }
}

namespace {

template <class F>
void with_some_channel(node& n, F&& f) {
  switch (n.random(3)) {
    case 0:
      return f(n.of.meeting);
    case 1:
      return f(n.of.narrow);
    default:
      return f(n.of.wide);
  }
}
template <class F>
void with_some_queue(node& n, F&& f) {
  if (n.random(2) == 0)
    f(n.of.jobs);
  else
    f(n.of.ranked);
}

}  // namespace

void push_item(node& n) {
  item it(n.of, n.random(3) == 0);
  const std::uint32_t how = n.random(3);
  const auto count = [&](auto& q, bool pushed, bool by_reference) {
    if (pushed) ++q.pushed;
    if (by_reference) n.expect(it.valid() != pushed, "an item was lost, or is in two places");
  };
  if (n.random(3) != 0)
    return with_some_channel(n, [&](auto& q) {
      if (how == 0) return count(q, q.queue.try_push(std::move(it)), true);
      if (how == 1)
        return count(q,
                     n.block("channel::push_for",
                             [&] { return q.queue.push_for(std::move(it), n.moment()); }),
                     true);
      count(q, n.patiently("channel::push", [&] { q.queue.push(std::move(it)); }), false);
    });
  with_some_queue(n, [&](auto& q) {
    if (how == 0) return count(q, q.queue.try_put(std::move(it)), true);
    if (how == 1)
      return count(q,
                   n.block("work_queue::put_for",
                           [&] { return q.queue.put_for(std::move(it), n.moment()); }),
                   true);
    count(q, n.patiently("work_queue::put", [&] { q.queue.put(std::move(it)); }), false);
  });
}

void pop_item(node& n) {
  const std::uint32_t how = n.random(3);
  std::optional<item> got;
  const auto count = [&](auto& q) {
    if (!got) return;
    ++q.popped;
    n.expect(got->valid(), "an item came that is none");
  };
  if (n.random(3) != 0)
    return with_some_channel(n, [&](auto& q) {
      if (how == 0) {
        got = q.queue.try_pop();
      } else if (how == 1) {
        n.block("channel::pop_for", [&] { got = q.queue.pop_for(n.moment()); });
      } else {
        static_cast<void>(n.patiently("channel::pop", [&] { got = q.queue.pop(); }));
      }
      count(q);
    });
  with_some_queue(n, [&](auto& q) {
    if (how == 0) {
      got = q.queue.try_get();
    } else if (how == 1) {
      n.block("work_queue::get_for", [&] { got = q.queue.get_for(n.moment()); });
    } else {
      static_cast<void>(n.patiently("work_queue::get", [&] { got.emplace(q.queue.get()); }));
    }
    count(q);
    if (got) q.queue.task_done();
  });
}

void select_item(node& n) {
  world& w = n.of;
  item it(w, n.random(3) == 0);
  std::optional<item> got;
  const auto popped = [&](auto& q) {
    return on_pop(q.queue, [&](std::optional<item> v) {
      got = std::move(v);
      ++q.popped;
    });
  };
  const auto pushed = [&](auto& q) { return on_push(q.queue, std::move(it), [&] { ++q.pushed; }); };
  std::size_t taken = 0;
  switch (n.random(3)) {
    case 0:
      taken = select(popped(w.meeting), popped(w.narrow), pushed(w.wide), otherwise([] {}));
      break;
    case 1:
      taken = n.block("select", [&] {
        return select(popped(w.narrow), popped(w.meeting), pushed(w.meeting),
                      on_timeout(n.moment(), [] {}));
      });
      break;
    default:
      taken = 3;
      static_cast<void>(n.patiently("select for ever", [&] {
        taken = select(popped(w.wide), popped(w.meeting), pushed(w.narrow));
      }));
  }
  n.expect(got.has_value() == (taken < 2), "select popped what it did not take, or nothing");
  n.expect(it.valid() == (taken != 2), "select pushed what it did not take, or nothing");
}

}  // namespace coir::testing::programs
