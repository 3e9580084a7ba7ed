// How the items of a channel are moved, for a core that does not know their type.
#pragma once
#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace coir::sched {

// Whether a move of T, and the destruction of what it leaves, is pointer work that neither throws
// nor blocks nor calls anybody: then it is done under the channel's spin lock. Any other T is moved
// while no lock is held.
template <class T>
inline constexpr bool moved_under_lock =
    std::is_trivially_move_constructible_v<T>&& std::is_trivially_destructible_v<T> &&
    sizeof(T) <= 64;
template <class T>
inline constexpr bool moved_under_lock<std::unique_ptr<T>> = true;
template <class T>
inline constexpr bool moved_under_lock<std::shared_ptr<T>> = true;
template <class T>
inline constexpr bool moved_under_lock<std::vector<T>> = true;
template <>
inline constexpr bool moved_under_lock<std::string> = true;

// A place for one item of a buffered channel; the item lies place_offset behind its beginning.
struct channel_slot {
  channel_slot* next;
};

// One constant a type. `out` is a std::optional<T>, `item` a T, `place` raw memory for one.
struct item_functions {
  std::size_t slot_size, slot_alignment, place_offset;
  bool under_lock;
  void (*fill)(void* place, void* item);     // an item into an empty place
  void (*take)(void* out, void* place);      // out of a place, which is empty then
  void (*hand_over)(void* out, void* item);  // from one who pushes to one who pops
  void (*drop)(void* place) noexcept;        // destroys the item in a place
};

constexpr std::size_t round_up(std::size_t n, std::size_t to) noexcept {
  return (n + to - 1) / to * to;
}

template <class T>
constexpr item_functions make_item_functions() noexcept {
  constexpr std::size_t alignment = std::max(alignof(T), alignof(channel_slot));
  constexpr std::size_t offset = round_up(sizeof(channel_slot), alignof(T));
  const auto hand_over = [](void* out, void* item) {
    static_cast<std::optional<T>*>(out)->emplace(std::move(*static_cast<T*>(item)));
  };
  return {round_up(offset + sizeof(T), alignment),
          alignment,
          offset,
          moved_under_lock<T>,
          [](void* place, void* item) { ::new (place) T(std::move(*static_cast<T*>(item))); },
          [](void* out, void* place) {
            static_cast<std::optional<T>*>(out)->emplace(std::move(*static_cast<T*>(place)));
            static_cast<T*>(place)->~T();
          },
          hand_over,
          [](void* place) noexcept { static_cast<T*>(place)->~T(); }};
}

template <class T>
inline constexpr item_functions items_of = make_item_functions<T>();

}  // namespace coir::sched
