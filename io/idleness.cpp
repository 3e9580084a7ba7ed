#include "idleness.hpp"

namespace coir::io {
namespace {

bool waits(const direction& side) noexcept {
  return direction::waiter_of(side.user.load(std::memory_order_relaxed)) != nullptr;
}

}  // namespace

std::uint64_t idleness::moved() const noexcept {
  return of_->reading.bytes.load(std::memory_order_relaxed) +
         of_->writing.bytes.load(std::memory_order_relaxed);
}

void idleness::begin_anew(clock::time_point now) noexcept {
  if (of_ != nullptr) moved_ = moved();
  since_ = now;
}

bool idleness::lasts(clock::duration at_least, clock::time_point now) noexcept {
  if (of_ == nullptr) return false;
  if (moved() != moved_ || !(waits(of_->reading) || waits(of_->writing))) begin_anew(now);
  return now - since_ >= at_least;
}

void idleness::end() const {
  for (direction* side : {&of_->reading, &of_->writing})
    if (waits(*side)) set_deadline(*of_, *side, clock::now());
}

}  // namespace coir::io
