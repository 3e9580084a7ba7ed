#include <coir/sched/signal_set.hpp>

#include <bit>
#include <stdexcept>
#include <string>
#include <utility>

#include <coir/sched/cancellation.hpp>
#include <coir/sched/wait_queue.hpp>

#include "fatal.hpp"
#include "signal_hub.hpp"

namespace coir {
namespace {

sched::signal_mask mask_of(std::span<const int> signals) {
  sched::signal_mask all = 0;
  for (const int s : signals) {
    if (s < 1 || s > 64)
      throw std::invalid_argument("coir: " + std::to_string(s) + " is no signal");
    all |= sched::bit_of(s);
  }
  return all;
}

}  // namespace

class signal_set::state final : public sched::signal_subscriber {
 public:
  explicit state(sched::signal_mask wanted) { sched::subscribe(*this, wanted); }
  ~state() {
    sched::unsubscribe(*this);
    if (!waiters_.settle(lock_))
      sched::fatal("a signal_set was destroyed while somebody waited for it");
  }

  void arrived(int signal, std::uint32_t) noexcept override {
    lock_.lock();
    pending_ |= sched::bit_of(signal);
    sched::waiter* const w = waiters_.claim_first();  // looks again, because another may be faster
    lock_.unlock();
    if (w != nullptr) sched::wake(*w);
  }

  std::optional<int> take() noexcept {
    lock_.lock();
    const std::optional<int> taken = take_locked();
    lock_.unlock();
    return taken;
  }

  std::optional<int> wait_before(clock::time_point deadline) {
    sched::waiter& me = *sched::current_host().running;
    sched::cancellation_point(me);
    for (auto how = sched::outcome::granted;;) {
      lock_.lock();
      const std::optional<int> taken = take_locked();
      if (taken.has_value() || how == sched::outcome::timed_out) return lock_.unlock(), taken;
      sched::wait_node node;
      how = sched::wait_in(waiters_, lock_, node, {sched::wait_kind::signal}, deadline);
      if (how == sched::outcome::cancelled) sched::throw_cancelled(me);
    }
  }

 private:
  std::optional<int> take_locked() noexcept {
    if (pending_ == 0) return std::nullopt;
    const int signal = std::countr_zero(pending_) + 1;
    pending_ &= pending_ - 1;
    return signal;
  }

  sched::spin_lock lock_;
  sched::signal_mask pending_ = 0;  // under lock_
  sched::wait_queue waiters_;       // under lock_
};

signal_set::signal_set(std::span<const int> signals)
    : state_(std::make_unique<state>(mask_of(signals))) {}
signal_set::signal_set(signal_set&&) noexcept = default;
signal_set& signal_set::operator=(signal_set&&) noexcept = default;
signal_set::~signal_set() = default;

std::optional<int> signal_set::try_wait() { return state_->take(); }
std::optional<int> signal_set::wait_before(clock::time_point deadline) {
  return state_->wait_before(deadline);
}

}  // namespace coir
