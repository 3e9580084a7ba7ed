// The threads behind offload(): made when a job finds none idle, up to a bound; one that has been
// idle for long ends.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <mutex>

#include <coir/sched/clock.hpp>
#include <coir/sched/offload.hpp>

namespace coir::sched {

// Always true: idle_ counts threads that wait and have not been promised a job. Whoever queues a
// job takes one from idle_ under the mutex, so that two jobs never rely on one thread.
class offload_pool {
 public:
  explicit offload_pool(unsigned most) noexcept : most_(most) {}

  // Any thread. Throws std::system_error if there is no thread and none can be made,
  // std::logic_error after stop(); then the job is not the pool's.
  void submit(offload_job&);
  bool take_back(offload_job&) noexcept;  // true: it has not begun, and never will

  // Drops the jobs that can be and have not begun, waits until every other has run and every thread
  // has ended, at most until then. False: some have
  // not; they are left, and this object with them.
  bool stop(clock::time_point limit) noexcept;
  unsigned threads() const noexcept;

 private:
  void thread_main() noexcept;
  void start_thread_locked();
  offload_job* pop_locked() noexcept;
  void remove_locked(offload_job&) noexcept;
  void drop_queued() noexcept;

  const unsigned most_;
  mutable std::mutex mutex_;
  std::condition_variable work_, changed_;
  offload_job* first_ = nullptr;  // under mutex_, as is all that follows
  offload_job* last_ = nullptr;
  unsigned threads_ = 0, idle_ = 0;
  std::size_t promised_ = 0;  // jobs for which a waiting thread has been woken
  bool stopping_ = false;
};

}  // namespace coir::sched
