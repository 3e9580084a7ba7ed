// Something that is done once.
#pragma once
#include <atomic>
#include <functional>
#include <utility>

#include <coir/sched/clock.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir {

// As std::once_flag. With waiters, its destruction stops the process with a message.
class once_flag {
 public:
  constexpr once_flag() noexcept = default;
  once_flag(const once_flag&) = delete;
  once_flag& operator=(const once_flag&) = delete;
  ~once_flag();

 private:
  template <class F, class... A>
  friend void call_once(once_flag&, F&&, A&&...);

  bool done() const noexcept { return done_.load(std::memory_order_acquire); }
  bool begin();             // true: it is the caller's turn; false: it has been done
  void succeed() noexcept;  // and who waits goes on
  void fail() noexcept;     // and the next one tries

  std::atomic<bool> done_{false};  // written under lock_
  sched::spin_lock lock_;
  sched::waiter* runner_ = nullptr;  // whose turn it is; under lock_
  sched::wait_queue waiters_;        // under lock_
};

// Calls f(arguments...) unless a call with this flag has returned before. If one is under way,
// waits for its end: a blocking call, where cancellation strikes. If that one throws, the exception
// goes to its caller and the one that waits longest tries. For fibers and threads in any mix. A
// call out of f with the same flag stops the process with a message.
template <class F, class... A>
void call_once(once_flag& flag, F&& f, A&&... arguments) {
  if (flag.done() || !flag.begin()) return;
  try {
    std::invoke(std::forward<F>(f), std::forward<A>(arguments)...);
  } catch (...) {
    flag.fail();
    throw;
  }
  flag.succeed();
}

}  // namespace coir
