// What channels and queues are tested with: items that move under a lock, and items that do not.
#pragma once
#include <atomic>
#include <compare>
#include <stdexcept>
#include <utility>

#include <coir/sched/channel_items.hpp>

#include "runtime_fixture.hpp"

namespace coir::testing {

// Moves by user code, so that no lock may be held meanwhile; counts how many live.
class heavy {
 public:
  heavy(int v = 0) : value_(v) { ++alive; }
  heavy(heavy&& from) noexcept : value_(std::exchange(from.value_, gone)) { ++alive; }
  heavy(const heavy& from) : value_(from.value_) { ++alive; }
  heavy& operator=(heavy&& from) noexcept {
    value_ = std::exchange(from.value_, gone);
    return *this;
  }
  ~heavy() { --alive; }
  operator int() const { return value_; }

  static constexpr int gone = -1;  // what it holds when it has been moved from
  static inline std::atomic<int> alive{0};

 private:
  int value_;
};
static_assert(!sched::moved_under_lock<heavy> && sched::moved_under_lock<int>);

// Its moves throw where it is told to.
struct brittle {
  brittle(int v = 0) : value(v) {}
  brittle(brittle&& from) : value(from.value) {
    if (armed.load() > 0 && --armed == 0) throw std::runtime_error("a move");
    from.value = -1;
  }
  brittle(const brittle& from) : value(from.value) {
    if (armed.load() > 0 && --armed == 0) throw std::runtime_error("a copy");
  }

  int value;
  static inline std::atomic<int> armed{0};  // how many moves or copies until one throws; 0: none
};

template <class T>
void wait_until_parked(const T& t) {
  while (t.state() != task_state::parked && !t.done()) {
    if (this_fiber::id() == fiber_id{})
      std::this_thread::yield();
    else
      this_fiber::yield();
  }
}

}  // namespace coir::testing
