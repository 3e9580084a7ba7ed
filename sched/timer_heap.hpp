// A worker's deadlines: a heap of four children a node, ordered by time and then by age. Behind the
// worker's gate.
//
// An entry names a wait (waiter and generation), and whoever runs it claims that wait; a claim that
// loses does nothing, so a deadline never strikes twice or late. Entries are the worker's until its
// runtime ends. A fiber that has moved to another worker cannot reach this heap: it marks its entry
// dead with one compare-exchange, and the heap sweeps when half of it is dead.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <vector>

#include <coir/sched/clock.hpp>
#include <coir/sched/waiter.hpp>

namespace coir::sched {

struct timer_entry {
  // serial << 1 | dead. The serial changes each time the entry is used.
  std::atomic<std::uint64_t> word{0};
  std::uint32_t position = 0;  // in the heap
  waiter* who = nullptr;
  wait_generation generation = 0;
  timer_entry* next_free = nullptr;
};

// What a waiter remembers of its own deadline.
struct armed_timer {
  timer_entry* entry = nullptr;
  std::uint64_t serial = 0;
};

class timer_heap {
 public:
  bool empty() const noexcept { return heap_.empty(); }
  std::size_t size() const noexcept { return heap_.size(); }
  clock::time_point earliest() const noexcept { return heap_.empty() ? never : heap_[0].deadline; }

  // Room for one more, so that the next arm() cannot fail. Throws std::bad_alloc, and nothing has
  // changed.
  void make_room();
  armed_timer arm(clock::time_point deadline, waiter& who, wait_generation generation) noexcept;

  // By the owner: out of the heap, if it is still in it.
  void disarm(const armed_timer&) noexcept;

  // By anybody, without the gate: it will be swept, and claims nothing in any case.
  void abandon(const armed_timer& t) noexcept {
    std::uint64_t alive = t.serial << 1;
    if (t.entry->word.compare_exchange_strong(alive, alive | 1, std::memory_order_relaxed))
      dead_.fetch_add(1, std::memory_order_relaxed);
  }

  void sweep() noexcept;  // takes the dead ones out

  // Takes the earliest entry whose deadline has come: its wait, to be claimed. Null: none is due.
  struct due {
    waiter* who = nullptr;
    wait_generation generation = 0;
    clock::time_point deadline;
  };
  due pop_due(clock::time_point now) noexcept;

 private:
  struct node {
    clock::time_point deadline;
    std::uint64_t age;
    timer_entry* entry;
    bool before(const node& other) const noexcept {
      return deadline != other.deadline ? deadline < other.deadline : age < other.age;
    }
  };
  void place(std::size_t at, const node&) noexcept;
  void rise(std::size_t at, const node&) noexcept;
  void sink(std::size_t at, const node&) noexcept;
  void remove(std::size_t at) noexcept;
  void recycle(timer_entry&) noexcept;

  std::vector<node> heap_;
  std::deque<timer_entry> entries_;  // addresses are stable
  timer_entry* free_ = nullptr;
  std::uint64_t next_age_ = 0;
  std::atomic<std::uint32_t> dead_{0};
};

}  // namespace coir::sched
