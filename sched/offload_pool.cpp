#include "offload_pool.hpp"

#include <chrono>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>
#include <signal.h>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/signals_blocked.hpp>
#include <coir/sched/task.hpp>
#include <coir/sync/offload_async.hpp>

#include "runtime_core.hpp"

namespace coir::sched {

namespace {

constexpr std::chrono::seconds idle_limit{10};

}  // namespace

void offload_pool::submit(offload_job& j) {
  std::lock_guard held(mutex_);
  if (stopping_) throw std::logic_error("coir: offload on a runtime that has been shut down");
  if (idle_ != 0) {
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
  const signals_blocked inherited;
  std::thread([this] { thread_main(); }).detach();
  ++threads_;
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

bool offload_pool::stop(clock::time_point limit) noexcept {
  {
    std::lock_guard held(mutex_);
    stopping_ = true;  // nothing is queued from now on
  }
  drop_queued();
  std::unique_lock lock(mutex_);
  work_.notify_all();
  const auto gone = [this] { return threads_ == 0; };
  if (limit != never) return changed_.wait_until(lock, limit, gone);
  changed_.wait(lock, gone);
  return true;
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
