// A worker's ready fibers: an unbounded intrusive FIFO. Behind the worker's gate.
#pragma once
#include <cstddef>
#include <cstdint>

#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

// How many are in a queue, and how many of them may move: one word, so that it is published by one
// store.
class queue_counts {
 public:
  std::uint32_t all() const noexcept { return static_cast<std::uint32_t>(word_); }
  std::uint32_t movable() const noexcept { return static_cast<std::uint32_t>(word_ >> 32); }

  void add(const fiber_record& f) noexcept { word_ += one(f); }
  void remove(const fiber_record& f) noexcept { word_ -= one(f); }

 private:
  static std::uint64_t one(const fiber_record& f) noexcept {
    return f.pinned != 0 ? 1 : 1 | std::uint64_t{1} << 32;
  }

  std::uint64_t word_ = 0;
};

class run_queue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return counts_.all(); }
  queue_counts counts() const noexcept { return counts_; }

  void push(fiber_record& f) noexcept {
    f.next = nullptr;
    f.previous = last_;
    (last_ != nullptr ? last_->next : first_) = &f;
    last_ = &f;
    counts_.add(f);
  }

  fiber_record* pop() noexcept {
    waiter* f = first_;
    if (f == nullptr) return nullptr;
    first_ = f->next;
    (first_ != nullptr ? first_->previous : last_) = nullptr;
    counts_.remove(*static_cast<fiber_record*>(f));
    return static_cast<fiber_record*>(f);
  }

  fiber_record* back() noexcept { return static_cast<fiber_record*>(last_); }
  fiber_record* front() noexcept { return static_cast<fiber_record*>(first_); }

  // The first out, the other one in behind the last. Not empty.
  void rotate(fiber_record& in) noexcept {
    waiter* f = first_;
    in.next = nullptr;
    in.previous = last_;
    last_->next = &in;
    last_ = &in;
    first_ = f->next;
    first_->previous = nullptr;
    counts_.add(in);
    counts_.remove(*static_cast<fiber_record*>(f));
  }

  // Only for a fiber that is in this queue.
  void erase(fiber_record& f) noexcept {
    (f.previous != nullptr ? f.previous->next : first_) = f.next;
    (f.next != nullptr ? f.next->previous : last_) = f.previous;
    counts_.remove(f);
  }

  // For a thief: takes up to `most` fibers that may move, oldest first, out of this queue.
  template <class Take>
  std::size_t take_movable(std::size_t most, Take&& take) noexcept {
    std::size_t taken = 0;
    for (waiter* w = first_; w != nullptr && taken < most;) {
      auto& f = static_cast<fiber_record&>(*w);
      w = w->next;
      if (f.pinned) continue;
      erase(f);
      take(f);
      ++taken;
    }
    return taken;
  }

 private:
  waiter* first_ = nullptr;
  waiter* last_ = nullptr;
  queue_counts counts_;
};

}  // namespace coir::sched
