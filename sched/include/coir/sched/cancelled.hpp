// The exception that ends a cancelled fiber.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <coir/sched/fiber_id.hpp>

namespace coir {

namespace sched {
struct delivery;
}

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
  friend struct sched::delivery;

  fiber_id fiber_;
  std::string reason_;
  // Who asked, for the scopes that it passes: sched/scope.hpp.
  const void* record_ = nullptr;
  std::uint64_t serial_ = 0;
  std::uint32_t origins_ = 1;
};

}  // namespace coir
