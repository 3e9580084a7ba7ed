// Waiting for some of several tasks.
#pragma once
#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <ranges>
#include <vector>

#include <coir/sched/clock.hpp>
#include <coir/sched/task_handle.hpp>

namespace coir {

enum class wait_for_what : unsigned char {
  first_done,
  first_error,  // or all; a cancelled task is done, and is no error
  all,
};

// What wait gives: the indices, in the range, of what has ended and of what has not.
struct wait_result {
  std::vector<std::size_t> done, pending;  // indices, ascending
};

namespace sched {

// Tells in which order fibers end. It watches them from its construction on.
class completions {
 public:
  explicit completions(const std::vector<fiber_record*>& of);
  ~completions();
  completions(const completions&) = delete;
  completions& operator=(const completions&) = delete;

  // The place, in the order of construction, of the next that has ended, once there are more than
  // `known`; waits for it, as a blocking call. `count`: the deadline has come.
  std::size_t next(std::size_t known, clock::time_point deadline = never);
  std::size_t count() const noexcept;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

wait_result wait_for_some(const std::vector<fiber_record*>&, wait_for_what, clock::time_point);

template <class R>
concept range_of_tasks = std::ranges::forward_range<R> &&
    std::derived_from<std::remove_cvref_t<std::ranges::range_reference_t<R>>, task_handle>;

template <range_of_tasks R>
std::vector<fiber_record*> records_of(R& tasks) {
  std::vector<fiber_record*> all;
  for (const task_handle& t : tasks) {
    if (!t.valid()) throw std::future_error(std::future_errc::no_state);
    all.push_back(t.peek());
  }
  return all;
}

}  // namespace sched

// asyncio.wait: waits until what is asked for has come or the time is up; cancels nobody. No tasks:
// at once. Fibers and threads.
template <sched::range_of_tasks R>
wait_result wait(R&& tasks, wait_for_what what = wait_for_what::all) {
  return sched::wait_for_some(sched::records_of(tasks), what, sched::never);
}
template <sched::range_of_tasks R, class Rep, class Period>
wait_result wait(R&& tasks, wait_for_what what, std::chrono::duration<Rep, Period> d) {
  return sched::wait_for_some(sched::records_of(tasks), what, sched::deadline_after(d));
}
template <sched::range_of_tasks R, class Rep, class Period>
wait_result wait(R&& tasks, std::chrono::duration<Rep, Period> d) {
  return wait(tasks, wait_for_what::all, d);
}

// asyncio.as_completed: the tasks of the range, by reference, each once it has ended. To go on to
// the next one is a blocking call. The tasks outlive it.
template <sched::range_of_tasks R>
class completed_view {
 public:
  explicit completed_view(R& tasks) : ended_(sched::records_of(tasks)) {
    for (auto& t : tasks) tasks_.push_back(std::addressof(t));
  }
  // Moving on waits until another task has ended.
  class iterator {
   public:
    using value_type = std::ranges::range_value_t<R>;
    using difference_type = std::ptrdiff_t;
    explicit iterator(completed_view& of) : of_(&of) { find(); }
    std::ranges::range_reference_t<R> operator*() const { return *of_->tasks_[at_]; }
    iterator& operator++() {
      ++known_;
      find();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return known_ == of_->tasks_.size(); }

   private:
    void find() {
      if (known_ != of_->tasks_.size()) at_ = of_->ended_.next(known_);
    }
    completed_view* of_;
    std::size_t known_ = 0, at_ = 0;
  };
  iterator begin() { return iterator(*this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  sched::completions ended_;
  std::vector<std::remove_reference_t<std::ranges::range_reference_t<R>>*> tasks_;
};

template <sched::range_of_tasks R>
completed_view<R> as_completed(R& tasks) {
  return completed_view<R>(tasks);
}

}  // namespace coir
