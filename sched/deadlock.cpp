// Fibers that wait for each other's ends, in a circle: looked for when every worker has slept for a
// while and nothing from outside is awaited, and then only once, until something has run again.
#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "fiber_extras.hpp"
#include "runtime_core.hpp"

namespace coir::sched {

namespace {

struct waiting_fiber {
  std::uint64_t number, joined;
  std::string name;
  std::size_t visit = 0;  // by which walk it was come by first; 0: by none
};

// Only what waits for the end of one fiber: who holds a mutex may be another by now.
bool waits_for_an_end(const fiber_record& f) noexcept {
  const wait_kind why = f.waits_for.load(std::memory_order_relaxed);
  return f.state.load(std::memory_order_relaxed) == task_state::parked &&
         (why == wait_kind::join || why == wait_kind::future) &&
         f.waits_for_id.load(std::memory_order_relaxed) != 0;
}

std::vector<waiting_fiber> those_who_join(record_store& records) {
  std::vector<waiting_fiber> all;
  records.for_each([&](fiber_record& f) {
    if (waits_for_an_end(f))
      all.push_back(
          {f.id().value(), f.waits_for_id.load(std::memory_order_relaxed), name_of(f, 31)});
  });
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  return all;
}

waiting_fiber* joined_by(const waiting_fiber& f, std::vector<waiting_fiber>& all) noexcept {
  const auto it = std::lower_bound(
      all.begin(), all.end(), f.joined,
      [](const waiting_fiber& other, std::uint64_t number) { return other.number < number; });
  return it != all.end() && it->number == f.joined ? &*it : nullptr;
}

void report(const waiting_fiber& first, std::vector<waiting_fiber>& all) {
  const auto named = [](const waiting_fiber& f) {
    return "fiber " + std::to_string(f.number) + " '" + f.name + "'";
  };
  std::string line = "coir: deadlock: " + named(first);
  const waiting_fiber* f = &first;
  do {
    f = joined_by(*f, all);
    line += " waits for the end of " + named(*f);
    if (f != &first) line += ", which";
  } while (f != &first);
  std::fprintf(stderr, "%s; they wait until one of them is cancelled\n", line.c_str());
}

}  // namespace

bool runtime_core::nothing_is_awaited() const noexcept {
  if (made_of.time != nullptr || idle.sleeping() != workers.size()) return false;
  std::atomic_thread_fence(std::memory_order_acquire);  // what they stored before they fell asleep
  return std::all_of(workers.begin(), workers.end(),
                     [](const auto& w) { return w->can_only_be_woken_by_fibers(); });
}

std::uint64_t runtime_core::switches_of_all() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& w : workers) sum += w->counts.switches.load(std::memory_order_relaxed);
  return sum;
}

bool runtime_core::may_be_deadlocked() const noexcept {
  return made_of.looks_for_deadlocks && nothing_is_awaited() &&
         looked_at_.load(std::memory_order_relaxed) != switches_of_all();
}

void runtime_core::look_for_deadlock() noexcept {
  const std::uint64_t now = switches_of_all();
  if (!nothing_is_awaited() || looked_at_.exchange(now, std::memory_order_relaxed) == now) return;
  try {
    std::vector<waiting_fiber> all = those_who_join(records);
    std::size_t walk = 0;
    for (waiting_fiber& start : all) {
      ++walk;
      waiting_fiber* f = &start;
      for (; f != nullptr && f->visit == 0; f = joined_by(*f, all)) f->visit = walk;
      if (f != nullptr && f->visit == walk) report(*f, all);
    }
  } catch (const std::bad_alloc&) {  // then nobody is told
  }
}

}  // namespace coir::sched
