// Names of fibers and states of tasks.
#pragma once
#include <compare>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>

namespace coir {

// Unique among all fibers that a runtime ever has. Default-constructed: no fiber.
class fiber_id {
 public:
  constexpr fiber_id() = default;
  constexpr explicit fiber_id(std::uint64_t value) : value_(value) {}
  friend constexpr auto operator<=>(fiber_id, fiber_id) = default;
  constexpr std::uint64_t value() const noexcept { return value_; }
  constexpr explicit operator bool() const noexcept { return value_ != 0; }

 private:
  std::uint64_t value_ = 0;
};

inline std::string to_string(fiber_id id) { return std::to_string(id.value()); }
template <class C, class Traits>
std::basic_ostream<C, Traits>& operator<<(std::basic_ostream<C, Traits>& to, fiber_id id) {
  return to << id.value();
}

enum class task_state : std::uint8_t {
  ready,    // will run: not started yet, or woken
  running,  // on a worker
  parked,   // waits
  done,     // has ended; its stack is gone
};

}  // namespace coir

template <>
struct std::hash<coir::fiber_id> {
  std::size_t operator()(coir::fiber_id id) const noexcept {
    return std::hash<std::uint64_t>{}(id.value());
  }
};
