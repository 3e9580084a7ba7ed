#include "offload_pool.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/detached_thread.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/task.hpp>
#include <coir/sync/offload_async.hpp>

#include "limited_wait.hpp"
#include "runtime_core.hpp"

namespace coir::sched {

namespace {

constexpr std::chrono::seconds idle_limit{10};

}  // namespace

offload_pool::offload_pool(unsigned most, clock::duration poll) noexcept
    : most_(most),
      poll_(std::thread::hardware_concurrency() > 1 ? poll : clock::duration::zero()) {}

void offload_pool::submit(offload_job& j) {
  std::unique_lock held(mutex_);
  if (stopping_) throw std::logic_error("coir: offload on a runtime that has been shut down");
  const bool polled = std::exchange(poller_, nullptr) != nullptr;
  if (polled) {
    poll_misses_ = 0;
  } else if (idle_ != 0) {
    --idle_;
    ++promised_;
    work_.notify_one();
  } else if (threads_ < most_) {
    try {
      start_thread_locked();
    } catch (const std::system_error&) {
      if (threads_ == 0) throw;  // else it waits for one that works
    }
  }
  j.next = nullptr;
  j.previous = last_;
  (last_ != nullptr ? last_->next : first_) = &j;
  last_ = &j;
  j.queued = true;
  held.unlock();
  if (polled) promises_.fetch_add(1, std::memory_order_release);
}

void offload_pool::remove_locked(offload_job& j) noexcept {
  (j.previous != nullptr ? j.previous->next : first_) = j.next;
  (j.next != nullptr ? j.next->previous : last_) = j.previous;
  j.queued = false;
}

bool offload_pool::take_back(offload_job& j) noexcept {
  std::lock_guard held(mutex_);
  if (!j.queued) return false;
  remove_locked(j);
  return true;
}

offload_job* offload_pool::pop_locked() noexcept {
  offload_job* const j = first_;
  if (j != nullptr) remove_locked(*j);
  return j;
}

// Their destructors are the user's: without the mutex.
void offload_pool::drop_queued() noexcept {
  offload_job* dropped = nullptr;
  {
    std::lock_guard held(mutex_);
    for (offload_job* j = first_; j != nullptr;) {
      offload_job* const after = j->next;
      if (j->drop != nullptr) {
        remove_locked(*j);
        j->next = std::exchange(dropped, j);
      }
      j = after;
    }
  }
  while (dropped != nullptr) {
    offload_job& j = *dropped;
    dropped = j.next;
    j.drop(j);
  }
}

void offload_pool::start_thread_locked() {
  const auto begin = [](void* pool) -> void* {
    static_cast<offload_pool*>(pool)->thread_main();
    return nullptr;
  };
  start_detached("a thread for offload()", begin, this);
  ++threads_;
}

// Waking a thread that sleeps costs more than many a job. True: there is one. As in a worker's
// search, one thread at most polls, and rarely where it rarely pays.
bool offload_pool::poll_locked(std::unique_lock<std::mutex>& lock) noexcept {
  if (poll_ <= clock::duration::zero() || poller_ != nullptr) return false;
  if (poll_skips_ != 0) return --poll_skips_, false;
  const char self = 0;
  poller_ = &self;
  const std::uint32_t before = promises_.load(std::memory_order_relaxed);
  lock.unlock();
  const clock::time_point end = later(std::chrono::steady_clock::now(), poll_);
  while (promises_.load(std::memory_order_acquire) == before &&
         std::chrono::steady_clock::now() < end)
    std_atomics::pause(0);
  lock.lock();
  if (poller_ != &self) return true;
  poller_ = nullptr;
  constexpr std::uint32_t few = 4, most_skips = 64, most_misses = few + 6;
  poll_misses_ = std::min(poll_misses_ + 1, most_misses);
  if (poll_misses_ > few) poll_skips_ = std::min(most_skips, 1U << (poll_misses_ - few));
  return false;
}

void offload_pool::thread_main() noexcept {
  ::pthread_setname_np(::pthread_self(), "coir-offload");
  std::unique_lock lock(mutex_);
  for (;;) {
    while (offload_job* const j = pop_locked()) {
      lock.unlock();
      j->run(*j);  // its last touch
      lock.lock();
    }
    if (stopping_) break;
    if (poll_locked(lock) || first_ != nullptr) continue;
    if (stopping_) break;
    ++idle_;
    const bool woken =
        work_.wait_for(lock, idle_limit, [this] { return promised_ != 0 || stopping_; });
    if (promised_ != 0) {
      --promised_;
    } else {
      --idle_;
      if (!woken && first_ == nullptr) break;
    }
  }
  --threads_;
  changed_.notify_all();  // the pool may be gone once the mutex is free
}

bool offload_pool::stop(const std::atomic<clock::time_point>& limit) noexcept {
  {
    std::lock_guard held(mutex_);
    stopping_ = true;  // nothing is queued from now on
  }
  promises_.fetch_add(1, std::memory_order_release);
  drop_queued();
  std::unique_lock lock(mutex_);
  work_.notify_all();
  return wait_within(limit, changed_, lock, [this] { return threads_ == 0; });
}

void offload_pool::look_at_limit() noexcept {
  const std::lock_guard held(mutex_);
  changed_.notify_all();
}

bool offload_pool::begins_at_once() const noexcept {
  std::lock_guard held(mutex_);
  return !stopping_ && (poller_ != nullptr || idle_ != 0 || threads_ < most_);
}

unsigned offload_pool::threads() const noexcept {
  std::lock_guard held(mutex_);
  return threads_;
}

namespace {

void finish(awaited_job& j) noexcept {
  j.lock.lock();
  j.done = true;
  waiter* const w = j.waiting.claim_first();
  j.lock.unlock();  // the job may be gone from here on
  if (w != nullptr) wake(*w);
}

}  // namespace

void submit_offloaded(offload_job& j) { core_of_this_fiber("offload_async").offloads.submit(j); }

bool offload_begins_at_once() { return core_of_this_fiber("offload").offloads.begins_at_once(); }

void run_offloaded(awaited_job& job) {
  runtime_core& core = core_of_this_fiber("offload");
  struct relay : offload_job {
    explicit relay(awaited_job& f) noexcept : offload_job(&relay::call), whose(f) {}
    static void call(offload_job& j) noexcept {
      awaited_job& mine = static_cast<relay&>(j).whose;
      mine.run(mine);
      finish(mine);
    }
    awaited_job& whose;
  } queued(job);
  waiter& me = *current_host().running;
  cancellation_point(me);
  core.offloads.submit(queued);
  bool struck = false;
  for (;;) {
    job.lock.lock();
    if (job.done) return job.lock.unlock();
    wait_node node;
    const outcome how =
        wait_in(job.waiting, job.lock, node, {wait_kind::offload, 0, !struck}, never);
    if (how != outcome::cancelled) continue;
    struck = true;
    if (core.offloads.take_back(queued)) throw_cancelled(me);
  }
}

}  // namespace coir::sched
