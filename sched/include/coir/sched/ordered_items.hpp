// The items of a work_queue, in an order of choice.
#pragma once
#include <deque>
#include <set>
#include <utility>

namespace coir {

struct fifo {};  // the oldest first
struct lifo {};  // the newest first
template <class Compare>
struct by {};  // the least first; equals in the order in which they were put

namespace sched {

template <class T, class Order>
class ordered_items;

template <class T>
class ordered_items<T, fifo> {
 public:
  void put(T&& item) { items_.push_back(std::move(item)); }
  T& next() noexcept { return items_.front(); }
  void remove_next() noexcept { items_.pop_front(); }

 private:
  std::deque<T> items_;
};

template <class T>
class ordered_items<T, lifo> {
 public:
  void put(T&& item) { items_.push_back(std::move(item)); }
  T& next() noexcept { return items_.back(); }
  void remove_next() noexcept { items_.pop_back(); }

 private:
  std::deque<T> items_;
};

// A tree, not a heap: a comparison that throws leaves it as it was, and equals keep their order.
template <class T, class Compare>
class ordered_items<T, by<Compare>> {
 public:
  void put(T&& item) { items_.emplace(std::move(item)); }
  T& next() noexcept { return items_.begin()->value; }
  void remove_next() noexcept { items_.erase(items_.begin()); }

 private:
  struct entry {
    explicit entry(T&& v) : value(std::move(v)) {}
    mutable T value;  // moved out of just before it is erased, which compares nothing
  };
  struct less {
    bool operator()(const entry& a, const entry& b) const { return compare(a.value, b.value); }
    [[no_unique_address]] Compare compare;
  };
  std::multiset<entry, less> items_;
};

}  // namespace sched
}  // namespace coir
