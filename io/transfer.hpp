// Moving bytes: the loops around a driver's attempts, which are the same for every stream of
// descriptors.
#pragma once
#include <cstddef>
#include <span>
#include <system_error>

#include "descriptor.hpp"

namespace coir::io {

// Null stands for a closed stream. All throw coir::cancelled; what was moved until then is in
// direction::bytes.
std::size_t receive_some(descriptor*, std::span<std::byte> into, std::error_code& error);
std::size_t receive_exactly(descriptor*, std::span<std::byte> into, std::error_code& error);
std::size_t send_some(descriptor*, std::span<const std::byte> from, std::error_code& error);
std::size_t send_all(descriptor*, std::span<const std::byte> from, std::error_code& error);
std::size_t send_all(descriptor*, std::span<const std::span<const std::byte>> from,
                     std::error_code& error);

}  // namespace coir::io
