// Nodes that start others and meet them: in futures, channels, at barriers, as listeners.
#include <array>
#include <memory>
#include <optional>

#include <coir/sync/async.hpp>
#include <coir/sync/barrier.hpp>
#include <coir/sync/broadcast.hpp>
#include <coir/sync/channel.hpp>
#include <coir/sync/future.hpp>
#include <coir/sync/latch.hpp>
#include <coir/sync/promise.hpp>
#include <coir/sync/select.hpp>
#include <coir/sync/watch.hpp>

#include "children.hpp"

namespace coir::testing::programs {

void futures(node& n) {
  if (n.random(2) == 0) {  // a fiber's
    seedling s = sow(n);
    auto who = s.who;
    auto f = async(std::move(s));
    std::exception_ptr error;
    const bool ends = n.random(3) == 0;
    if (ends) {
      ++who->asking;
      f.cancel("future::cancel");
    }
    const bool in_time = n.block(
        "future::wait_for", [&] { return f.wait_for(n.moment()) == std::future_status::ready; },
        node::entry::sometimes);
    n.expect(in_time == f.done() || !in_time, "a future was ready, and is not");
    if (!in_time && n.random(3) == 0) {
      ++who->asking;
      f.cancel();
      return;  // it goes on alone
    }
    try {
      const token t = n.block(
          "future::get", [&] { return f.get(); }, node::entry::sometimes);
      check_result(n, *who, t);
    } catch (const cancelled& c) {
      if (n.mine(c)) {
        n.expect(f.valid(), "a wait for a future was cancelled, and the future is gone");
        throw;
      }
      n.expect(who->how == ending::cancelled || who->how == ending::unstarted ||
                   who->error == std::current_exception(),
               "an async that was not cancelled says that it was");
    } catch (...) {
      n.expect(who->error == std::current_exception(), "a future has another's error");
    }
    return;
  }
  promise<std::unique_ptr<item>> p;
  auto shared = p.get_future().share();
  std::vector<child> readers;
  const std::uint32_t many = 1 + n.random(3);
  for (std::uint32_t i = 0; i < many; ++i)
    readers.push_back(start(n, [shared](node& r) {
      const auto f = shared;
      try {
        const auto& value = r.block(
            "shared_future::get", [&]() -> auto& { return f.get(); }, node::entry::sometimes);
        r.expect(value != nullptr && value->valid(), "a shared future has no value");
      } catch (const std::future_error& e) {
        r.expect(e.code() == std::future_errc::broken_promise, "another error of a future");
      } catch (const random_error& e) {
        r.expect(e.serial == 0, "another's error in a future");
      }
    }));
  auto setter = start(n, [to = std::make_shared<promise<std::unique_ptr<item>>>(std::move(p)),
                          what = n.random(4)](node& r) {
    leaves(r, 2);
    auto value = std::make_unique<item>(r.of, false);
    if (what == 0) return;  // broken
    if (what == 1) return to->set_exception(std::make_exception_ptr(random_error{r.me->path, 0}));
    r.expect(to->try_set_value(std::move(value)) || true, "");
  });
  shared = {};
  steps(n, 1);
  comes_to(n, *setter.who, setter.t.id(), [&] { return setter.t.get(); });
  setter.t = {};  // a promise that never came to its fiber is broken now
  join_all(n, readers);
}

// Every item that went in comes out once, in the order of each producer, whoever is cancelled.
void producers_and_consumers(node& n) {
  channel<std::uint64_t> c(n.random(4));
  std::array<std::atomic<std::uint64_t>, 3> sent{};
  std::array<std::atomic<std::uint64_t>, 3> taken{};
  std::vector<child> consumers, producers;
  const std::uint32_t many = 1 + n.random(2);
  for (std::uint32_t i = 0; i < many; ++i)
    consumers.push_back(start(n, [&, alone = many == 1](node& r) {
      std::array<std::uint64_t, 3> last{};
      const auto next = [&] {
        if (r.random(2) == 0) return c.pop();
        std::optional<std::uint64_t> got;
        channel<std::uint64_t>* const none = nullptr;
        const auto take = [&](std::optional<std::uint64_t> v) { got = v; };
        const auto other = [&](std::optional<std::uint64_t>) {
          r.fail("a case without a channel was taken");
        };
        if (select(on_pop(none, other), on_pop(c, take)) != 1)
          r.fail("select took what it did not have");
        return got;
      };
      while (auto v = r.block("channel::pop", next)) {
        const std::size_t by = *v >> 32;
        const std::uint64_t number = *v & 0xffffffffU;
        ++taken[by];
        r.expect(number > last[by], "items of one producer came out of order");
        if (alone) r.expect(number == last[by] + 1, "an item was lost in between");
        last[by] = number;
        leaves(r, r.random(2));
      }
      r.expect(c.drained(), "pop gave none, and the channel has not ended");
    }));
  for (std::uint64_t i = 0; i < 1 + n.random(3); ++i)
    producers.push_back(start(n, [&, i](node& r) {
      for (std::uint64_t k = 1; k <= 1 + r.random(20); ++k) {
        const std::uint64_t v = i << 32 | (sent[i] + 1);
        if (r.block("channel::push_for", [&] { return c.push_for(v, r.moment()); })) ++sent[i];
        leaves(r, r.random(2));
      }
    }));
  struct closer {
    channel<std::uint64_t>& of;
    ~closer() { of.close(); }
  };
  {
    const closer at_the_end{c};
    if (n.random(3) == 0) {
      leaves(n, 2);
      c.close();  // under the producers, to whom it says so
    }
    join_all(n, producers);
    if (n.random(3) == 0) ask(consumers[0].who, consumers[0].t);
  }
  bool all_popped = true;
  for (child& k : consumers) {
    n.block(
        "wait", [&] { k.t.wait(); }, node::entry::sometimes);
    all_popped = all_popped && k.who->how == ending::value;
  }
  std::uint64_t in = 0, out = 0, left = 0;
  while (c.try_pop()) ++left;
  for (auto& s : sent) in += s;
  for (auto& t : taken) out += t;
  if (in != out + left)
    n.fail("channel: " + std::to_string(in) + " in, " + std::to_string(out) + " out, " +
           std::to_string(left) + " left");
  n.expect(!all_popped || left == 0, "a channel has ended with items in it");
}

void meet_at_a_barrier(node& n) {
  const std::uint32_t parties = 2 + n.random(2);
  barrier b(static_cast<std::ptrdiff_t>(parties));
  latch l(static_cast<std::ptrdiff_t>(parties));
  std::atomic<std::uint64_t> phases{0}, broken{0};
  std::vector<child> all;
  for (std::uint32_t i = 0; i < parties; ++i)
    all.push_back(start(n, [&](node& r) {
      for (std::uint32_t k = 1 + r.random(4); k > 0; --k) {
        try {
          const auto index = r.block("barrier", [&] { return b.arrive_and_wait_for(r.moment()); });
          if (!index) continue;
          r.expect(*index < parties, "an index that is none");
          if (*index == 0) ++phases;
        } catch (const broken_barrier&) {
          ++broken;
        }
        leaves(r, 1);
      }
      l.count_down();
      r.patiently(
          "latch", [&] { l.wait(); }, node::entry::sometimes);
    }));
  steps(n, 1);
  const bool breaks = n.random(3) == 0;
  if (breaks) {
    b.abort();
    leaves(n, 1);
    b.reset();
  }
  bool every = true;
  for (child& c : all) {
    n.block(
        "wait", [&] { c.t.wait(); }, node::entry::sometimes);
    every = every && c.who->how == ending::value;
  }
  n.expect(breaks || broken == 0, "a barrier broke by itself");
  n.expect(b.waiting() == 0, "an arrival was left behind");
  n.expect(l.try_wait() || !every, "a latch was counted down and is shut");
}

// A receiver of a broadcast gets all, or is told how many it missed; one of a watch sees the last.
void listeners(node& n) {
  broadcast<std::uint64_t> b(4);
  watch<std::uint64_t> w(0);
  std::vector<child> all;
  constexpr std::uint64_t last = 12;
  for (std::uint32_t i = 0; i < 1 + n.random(2); ++i) {
    all.push_back(start(
        n, [r = std::make_shared<broadcast<std::uint64_t>::receiver>(b.subscribe())](node& m) {
          std::uint64_t next = 1;
          for (;;) {
            try {
              const auto v = m.block("broadcast", [&] { return r->pop(); });
              if (!v) break;
              m.expect(*v == next, "a broadcast left an item out");
              next = *v + 1;
            } catch (const lagged& l) {
              next += l.missed();
            }
            leaves(m, m.random(2));
          }
          m.expect(r->drained(), "a receiver has no more, and has not ended");
        }));
    all.push_back(
        start(n, [r = std::make_shared<watch<std::uint64_t>::receiver>(w.subscribe())](node& m) {
          std::uint64_t seen = 0;
          while (m.block("watch", [&] { return r->changed(); })) {
            const std::uint64_t now = r->get();
            m.expect(now > seen, "a watch went backwards, or changed and did not");
            seen = now;
            leaves(m, m.random(2));
          }
          m.expect(seen == r->get(), "a watch has ended before its last value was seen");
        }));
  }
  struct closer {
    broadcast<std::uint64_t>& b;
    watch<std::uint64_t>& w;
    ~closer() {
      b.close();
      w.close();
    }
  };
  {
    const closer at_the_end{b, w};
    for (std::uint64_t i = 1; i <= last; ++i) {
      b.push(i);
      w.set(i);
      leaves(n, n.random(2));
    }
  }
  join_all(n, all);
}

}  // namespace coir::testing::programs
