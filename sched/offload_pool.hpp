// The threads behind offload(): made when a job finds none idle, up to a bound; one that has been
// idle for long ends.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <coir/sched/clock.hpp>
#include <coir/sched/offload.hpp>

namespace coir::sched {

// Always true: idle_ counts threads that wait and have not been promised a job; a poller is one
// more of them, which looks for a while before it waits. Whoever queues a job takes the poller, or
// one from idle_, under the mutex, so that two jobs never rely on one thread.
class offload_pool {
 public:
  // poll: so long a thread that has run dry looks for its next job before it sleeps. Not at all on
  // a single processor.
  offload_pool(unsigned most, clock::duration poll) noexcept;

  // Any thread. Throws std::system_error if there is no thread and none can be made,
  // std::logic_error after stop(); then the job is not the pool's.
  void submit(offload_job&);
  bool begins_at_once() const noexcept;   // a job that came now need not wait for another
  bool take_back(offload_job&) noexcept;  // true: it has not begun, and never will

  // Drops the jobs that can be and have not begun, waits until every other has run and every thread
  // has ended, at most until then. False: some have not; they are left, and this object with them.
  bool stop(const std::atomic<clock::time_point>& limit) noexcept;
  void look_at_limit() noexcept;  // it has been brought forward
  unsigned threads() const noexcept;

 private:
  void thread_main() noexcept;
  void start_thread_locked();
  bool poll_locked(std::unique_lock<std::mutex>&) noexcept;
  offload_job* pop_locked() noexcept;
  void remove_locked(offload_job&) noexcept;
  void drop_queued() noexcept;

  const unsigned most_;
  const clock::duration poll_;
  // Grows when a poller has been promised a job. A hint alone, so that it may come when the mutex
  // is free and the poller need not sleep at it.
  std::atomic<std::uint32_t> promises_{0};
  mutable std::mutex mutex_;
  std::condition_variable work_, changed_;
  offload_job* first_ = nullptr;  // under mutex_, as is all that follows
  offload_job* last_ = nullptr;
  unsigned threads_ = 0, idle_ = 0;
  std::size_t promised_ = 0;  // jobs for which a waiting thread has been woken
  bool stopping_ = false;
  const void* poller_ = nullptr;  // the thread that polls and has not been promised a job
  std::uint32_t poll_misses_ = 0, poll_skips_ = 0;  // as a worker's: polls in vain become rare
};

}  // namespace coir::sched
