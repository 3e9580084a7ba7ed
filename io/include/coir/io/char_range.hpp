// Text where bytes are taken, beyond what converts to std::string_view.
#pragma once
#include <concepts>
#include <ranges>
#include <string_view>
#include <type_traits>

namespace coir::io {

// A span or a vector of char, and the like: what a buffer is that was read into.
template <class R>
concept char_range = std::ranges::contiguous_range<const R> && std::ranges::sized_range<const R> &&
                     std::same_as < std::ranges::range_value_t<const R>,
char > &&!std::convertible_to<const R&, std::string_view>;

// A list of strings that stays where it is.
template <class R>
concept string_range = std::ranges::forward_range<const R> && std::ranges::common_range<const R> &&
    std::is_lvalue_reference_v<std::ranges::range_reference_t<const R>> &&
    std::convertible_to<std::ranges::range_reference_t<const R>, std::string_view>;

template <char_range R>
std::string_view text_of(const R& range) noexcept {
  return {std::ranges::data(range), std::ranges::size(range)};
}

}  // namespace coir::io
