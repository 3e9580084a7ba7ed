// Who may put into a work_queue and who may get from it, without the items.
#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>
#include <coir/sync/mutex.hpp>

namespace coir::sched {

// Somebody who waits to put; whoever has claimed the wait stores the item in its stead.
struct waiting_put : wait_node {
  void* item = nullptr;
  bool refused = false;
  std::exception_ptr error;
};

// Who may put and who may get, without the items. Each permit to put or to get is ended once, with
// whether it was used.
class work_gate {
 public:
  // What the end of a permit brings to its caller.
  struct duty {
    std::size_t drop = 0;          // permits to get items that a shutdown wants dropped
    waiting_put* serve = nullptr;  // a permit to put this one's item; then put_served
  };
  enum class put_is : std::uint8_t { refused, permitted, over };

  explicit work_gate(std::size_t most) noexcept : most_(most) {}
  ~work_gate();  // with waiters: stops the process with a message

  // refused: the time was over, or there is no place now; over: the item has been stored. Throw
  // channel_closed, and what storing the item threw.
  put_is begin_put(void* item, clock::time_point deadline, bool may_wait);
  bool begin_get(clock::time_point deadline, bool may_wait);
  [[nodiscard]] duty end_put(bool stored) noexcept;
  [[nodiscard]] duty end_get(bool taken) noexcept;
  [[nodiscard]] duty put_served(waiting_put&) noexcept;
  [[nodiscard]] duty shutdown(bool immediate) noexcept;
  void dropped(std::size_t) noexcept;

  void task_done() noexcept;
  bool join(clock::time_point deadline);
  std::size_t size() const noexcept;

  // The lock of the items: user code runs under it, so it is one that parks.
  void lock() noexcept { items_mutex_.lock_uncancelled(); }
  void unlock() noexcept { items_mutex_.unlock(); }

 private:
  static wait_node* claim_first_locked(wait_queue&) noexcept;
  void item_there_locked(ready_list&) noexcept;
  waiting_put* place_free_locked() noexcept;
  void wake_drained_locked(ready_list&) noexcept;
  void done_locked(std::size_t, ready_list&) noexcept;

  mutable spin_lock lock_;
  const std::size_t most_;  // 0: no bound
  // All under lock_.
  std::size_t places_ = 0;  // taken: items, and permits to put and to get
  std::size_t items_ = 0;   // that nobody has a permit for
  std::size_t unfinished_ = 0;
  bool closed_ = false, dropping_ = false;
  wait_queue putters_, getters_, joiners_;

  mutex items_mutex_;
};

}  // namespace coir::sched
