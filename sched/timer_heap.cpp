#include "timer_heap.hpp"

namespace coir::sched {

void timer_heap::make_room() {
  if (dead_.load(std::memory_order_relaxed) > 64 + heap_.size() / 2) sweep();
  if (heap_.size() == heap_.capacity()) heap_.reserve(heap_.size() * 2 + 16);
  if (free_ == nullptr) {
    entries_.emplace_back();
    free_ = &entries_.back();
  }
}

armed_timer timer_heap::arm(clock::time_point deadline, waiter& who,
                            wait_generation generation) noexcept {
  timer_entry& e = *free_;
  free_ = e.next_free;
  e.who = &who;
  e.generation = generation;
  const std::uint64_t serial = (e.word.load(std::memory_order_relaxed) >> 1) + 1;
  e.word.store(serial << 1, std::memory_order_relaxed);
  heap_.emplace_back();
  rise(heap_.size() - 1, node{deadline, next_age_++, &e});
  return {&e, serial};
}

void timer_heap::disarm(const armed_timer& t) noexcept {
  if (t.entry->word.load(std::memory_order_relaxed) != t.serial << 1) return;  // has struck
  remove(t.entry->position);
  recycle(*t.entry);
}

timer_heap::due timer_heap::pop_due(clock::time_point now) noexcept {
  while (!heap_.empty() && heap_[0].deadline <= now) {
    timer_entry& e = *heap_[0].entry;
    const due d{e.who, e.generation, heap_[0].deadline};
    // The serial moves on, so that an abandon of this one, made from now on, does nothing.
    const std::uint64_t word = e.word.exchange(
        ((e.word.load(std::memory_order_relaxed) >> 1) + 1) << 1, std::memory_order_relaxed);
    remove(0);
    e.next_free = free_;
    free_ = &e;
    if ((word & 1) == 0) return d;
    dead_.fetch_sub(1, std::memory_order_relaxed);
  }
  return {};
}

void timer_heap::recycle(timer_entry& e) noexcept {
  const std::uint64_t word = e.word.load(std::memory_order_relaxed);
  const std::uint64_t old = e.word.exchange(((word >> 1) + 1) << 1, std::memory_order_relaxed);
  if (old & 1) dead_.fetch_sub(1, std::memory_order_relaxed);
  e.next_free = free_;
  free_ = &e;
}

void timer_heap::sweep() noexcept {
  for (std::size_t i = 0; i < heap_.size();) {
    timer_entry& e = *heap_[i].entry;
    if (e.word.load(std::memory_order_relaxed) & 1) {
      remove(i);
      recycle(e);
    } else {
      ++i;
    }
  }
}

void timer_heap::place(std::size_t at, const node& n) noexcept {
  heap_[at] = n;
  n.entry->position = static_cast<std::uint32_t>(at);
}

void timer_heap::rise(std::size_t at, const node& n) noexcept {
  while (at > 0) {
    const std::size_t parent = (at - 1) / 4;
    if (!n.before(heap_[parent])) break;
    place(at, heap_[parent]);
    at = parent;
  }
  place(at, n);
}

void timer_heap::sink(std::size_t at, const node& n) noexcept {
  for (;;) {
    const std::size_t first = 4 * at + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    for (std::size_t c = first + 1; c < first + 4 && c < heap_.size(); ++c)
      if (heap_[c].before(heap_[least])) least = c;
    if (!heap_[least].before(n)) break;
    place(at, heap_[least]);
    at = least;
  }
  place(at, n);
}

void timer_heap::remove(std::size_t at) noexcept {
  const node moved = heap_.back();
  heap_.pop_back();
  if (at == heap_.size()) return;
  if (at > 0 && moved.before(heap_[(at - 1) / 4]))
    rise(at, moved);
  else
    sink(at, moved);
}

}  // namespace coir::sched
