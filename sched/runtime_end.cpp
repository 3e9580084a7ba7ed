// How a runtime ends: sched/README.md, "The end of a runtime".
#include "runtime_core.hpp"

#include <vector>

#include "fiber_end.hpp"
#include "fiber_extras.hpp"
#include "limited_wait.hpp"
#include "worker_switch.hpp"

namespace coir::sched {

std::uint64_t runtime_core::alive() const noexcept {
  // The ended first: a sum of 0 then was true at some moment in between.
  std::uint64_t ended = 0, spawned = 0;
  for (auto& w : workers) ended += w->counts.ended.load(std::memory_order_acquire);
  for (auto& w : workers) spawned += w->counts.spawned.load(std::memory_order_acquire);
  return spawned + spawned_outside.load(std::memory_order_acquire) - ended;
}

std::uint64_t runtime_core::turns_of_all() const noexcept {
  std::uint64_t sum = 0;
  for (auto& w : workers) sum += w->turns();
  return sum;
}

void runtime_core::fiber_ended() noexcept {
  std_atomics::fence();  // of two that count the last ends at once, one sees the other's
  if (alive() != 0) return;
  std::lock_guard lock(mutex_);
  changed_.notify_all();
}

void runtime_core::cancel_all() noexcept {
  records.for_each([this](fiber_record& f) {
    if (!f.references.retain_before_end()) return;
    if (!f.done()) {
      request_cancellation(f, shutting_down);
      request_stop(f);
    }
    release(f);
  });
}

// The first to ask conducts it, and the others wait for that; the earliest limit of them all
// counts.
bool runtime_core::shutdown(clock::time_point limit, const std::function<void()>& late) {
  if (in_forked_child()) return leave_to_parent(), !abandoned_;
  {
    std::unique_lock lock(mutex_);
    if (stopped_) return !abandoned_;
    if (late_ == nullptr || limit < limit_.load(std::memory_order_relaxed)) {
      limit_.store(limit, std::memory_order_relaxed);
      late_ = &late;
      changed_.notify_all();
    }
    if (std::exchange(ending_, true)) {
      lock.unlock();
      offloads.look_at_limit();
      lock.lock();
      changed_.wait(lock, [this] { return stopped_; });
      return !abandoned_;
    }
  }
  const bool ended = end_within_limit();
  if (!ended) {
    (*late_)();
    abandon();
  }
  std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
  return ended;
}

// Its threads are the parent's: they can be neither joined nor detached here.
void runtime_core::leave_to_parent() {
  if (std::exchange(stopped_, true)) return;
  static_cast<void>(new std::vector<std::thread>(std::move(threads_)));
  abandoned_ = true;
}

bool runtime_core::end_within_limit() {
  refusing.store(true, std::memory_order_seq_cst);  // 1
  std_atomics::heavy_fence();
  cancel_all();  // 2
  {
    std::unique_lock lock(mutex_);  // 3
    abandoned_ = !wait_within(limit_, changed_, lock, [&] { return alive() == 0; });
  }
  if (!abandoned_ && !offloads.stop(limit_)) abandoned_ = true;  // 4
  if (abandoned_) return false;
  leaving.store(true, std::memory_order_seq_cst);  // 6
  std_atomics::heavy_fence();
  for (auto& w : workers) w->interrupt();
  for (auto& t : threads_) t.join();  // 7, 8
  return true;
}

// What is ready here never runs. A worker that hogs its thread is outside its gate.
void worker::forget_ready() noexcept {
  for (unsigned turn = 0; gate_.try_break_in() == break_in::lost; ++turn) std_atomics::pause(turn);
  while (queue_.pop() != nullptr) {}
  next_ = nullptr;
  publish_length_locked();
  gate_.break_out();
}

// Past the limit: what is left never runs again. Those who join it are told; its stack, its record
// and the rings that may still write to it stay until the process ends. A worker whose fiber never
// returns is left behind.
void runtime_core::abandon() noexcept {
  leaving.store(true, std::memory_order_seq_cst);
  std_atomics::heavy_fence();
  for (auto& w : workers) w->interrupt();
  {
    std::unique_lock lock(mutex_);
    // Idle workers leave at once; a loop that is not reached in that time belongs to a fiber that
    // does not return.
    constexpr std::chrono::milliseconds patience{200};
    changed_.wait_for(lock, patience, [&] { return left_ == threads_.size(); });
    hogs_ = threads_.size() - left_;
    left_ = threads_.size();  // the others need not wait for them
    changed_.notify_all();
  }
  for (auto& w : workers) w->forget_ready();
  for (auto& t : threads_) t.detach();
  records.for_each([this](fiber_record& f) { break_promise(f, *this); });
}

}  // namespace coir::sched
