// What every stream of bytes can do, and the types that all of io's headers share.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>

namespace coir {

using handle_type = int;  // an open file descriptor

template <class S>
concept byte_stream = std::movable<S> &&
    requires(S& s, std::span<std::byte> into, std::span<const std::byte> from,
             std::error_code& ec) {
  { s.read_some(into) } -> std::same_as<std::size_t>;
  { s.read_some(into, ec) } -> std::same_as<std::size_t>;
  { s.write_some(from) } -> std::same_as<std::size_t>;
  { s.write_some(from, ec) } -> std::same_as<std::size_t>;
  s.write(from);
  s.write(from, ec);
  s.shutdown_write();
  s.close();
  { s.is_open() } -> std::convertible_to<bool>;
};

}  // namespace coir
