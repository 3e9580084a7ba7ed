// What a push to a closed channel throws.
#pragma once
#include <stdexcept>

namespace coir {

// Derived from std::runtime_error: a close is no cancellation.
class channel_closed : public std::runtime_error {
 public:
  channel_closed() : std::runtime_error("coir: the channel is closed") {}
};

}  // namespace coir
