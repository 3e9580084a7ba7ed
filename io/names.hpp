// What is said of hosts and services.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coir::io {

std::optional<std::uint16_t> port_of(std::string_view digits) noexcept;
std::string quoted(std::string_view text);  // for a message: cut, and without control characters

}  // namespace coir::io
