// The exception that ends a cancelled fiber.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include <coir/sched/fiber_id.hpp>

namespace coir {

// Thrown by a blocking call of a fiber that was asked to end. Derives from nothing, so that a
// handler of std::exception lets it through; a fiber that catches it and goes on runs on, and may
// be cancelled again.
class cancelled {
 public:
  explicit cancelled(fiber_id fiber, std::string reason = {})
      : fiber_(fiber), reason_(std::move(reason)) {}

  std::string_view reason() const noexcept {
    return reason_;
  }                                                   // of the first request; may be empty
  fiber_id fiber() const noexcept { return fiber_; }  // who was cancelled

 private:
  fiber_id fiber_;
  std::string reason_;
};

}  // namespace coir
