#include "accept_queue.hpp"

#include "system_calls.hpp"

namespace coir::io {

sched::waiter* accept_queue::push(std::int32_t result, bool more) noexcept {
  lock_.lock();
  bool kept = true;
  try {
    results_.push_back(result);
  } catch (const std::bad_alloc&) {
    kept = false;
  }
  armed_ = more;
  sched::waiter* w = consumer_.claim_first();
  lock_.unlock();
  if (!kept && result >= 0) sys::close(result);  // as if its peer had gone
  return w;
}

bool accept_queue::try_pop(std::int32_t& result, bool& must_arm) noexcept {
  lock_.lock();
  const bool found = taken_ < results_.size();
  if (found) result = results_[taken_++];
  if (taken_ == results_.size()) {
    results_.clear();
    taken_ = 0;
  }
  must_arm = !armed_;
  lock_.unlock();
  return found;
}

void accept_queue::armed() noexcept {
  lock_.lock();
  armed_ = true;
  lock_.unlock();
}

bool accept_queue::is_armed() noexcept {
  lock_.lock();
  const bool now = armed_ || taken_ < results_.size();
  lock_.unlock();
  return now;
}

sched::outcome accept_queue::wait(handle_type listener, bool cancellable,
                                  clock::time_point deadline) noexcept {
  lock_.lock();
  if (taken_ < results_.size() || !armed_) {
    lock_.unlock();
    return sched::outcome::granted;
  }
  sched::wait_node node;
  return sched::wait_in(consumer_, lock_, node,
                        {.kind = sched::wait_kind::accept,
                         .id = static_cast<std::uint64_t>(listener),
                         .cancellable = cancellable},
                        deadline);
}

void accept_queue::drain(handle_type listener) noexcept {
  for (;;) {
    std::int32_t result = -1;
    bool ended = false;
    if (try_pop(result, ended)) {
      if (result >= 0) sys::close(result);
    } else if (ended) {
      return;
    } else {
      wait(listener, false, sched::never);
    }
  }
}

}  // namespace coir::io
