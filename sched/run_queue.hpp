// A worker's ready fibers: an unbounded intrusive FIFO. Behind the worker's gate.
#pragma once
#include <cstddef>

#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

class run_queue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  std::size_t movable() const noexcept { return size_ - pinned_; }

  void push(fiber_record& f) noexcept {
    f.next = nullptr;
    f.previous = last_;
    (last_ != nullptr ? last_->next : first_) = &f;
    last_ = &f;
    ++size_;
    pinned_ += f.pinned;
  }

  fiber_record* pop() noexcept {
    waiter* f = first_;
    if (f == nullptr) return nullptr;
    first_ = f->next;
    (first_ != nullptr ? first_->previous : last_) = nullptr;
    --size_;
    pinned_ -= static_cast<fiber_record*>(f)->pinned;
    return static_cast<fiber_record*>(f);
  }

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
    pinned_ += in.pinned;
    pinned_ -= static_cast<fiber_record*>(f)->pinned;
  }

  // Only for a fiber that is in this queue.
  void erase(fiber_record& f) noexcept {
    (f.previous != nullptr ? f.previous->next : first_) = f.next;
    (f.next != nullptr ? f.next->previous : last_) = f.previous;
    --size_;
    pinned_ -= f.pinned;
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
  std::size_t size_ = 0, pinned_ = 0;
};

}  // namespace coir::sched
