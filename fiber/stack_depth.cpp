#include <coir/fiber/stack.hpp>

#include "sanitizers.hpp"

#include <algorithm>

// How deep a stack is, or has been. The painted part may be read while the fiber runs on another
// thread: the answer is then as old as the read.

namespace coir::fiber {

namespace {

constexpr std::uint64_t paint_pattern = 0x9f9f9f9f9f9f9f9fU;
constexpr std::size_t unpainted_bytes = 256;  // at the top: where make_context puts the first frame

}  // namespace

std::size_t stack_used_now(const stack& s) noexcept {
  const auto* here = static_cast<const std::byte*>(__builtin_frame_address(0));
  const std::byte* top = s.limit + s.size;
  return here >= s.limit && here < top ? static_cast<std::size_t>(top - here) : 0;
}

COIR_FIBER_NO_ASAN void paint(stack& s) noexcept {
  auto* low = reinterpret_cast<std::uint64_t*>(s.limit);
  std::fill_n(low, (s.size - unpainted_bytes) / sizeof *low, paint_pattern);
}

COIR_FIBER_NO_ASAN COIR_FIBER_NO_TSAN std::size_t painted_high_water(const stack& s) noexcept {
  const auto* low = reinterpret_cast<const std::uint64_t*>(s.limit);
  const std::size_t words = (s.size - unpainted_bytes) / sizeof *low;
  const sanitizers::unchecked_read whatever_is_there;
  std::size_t i = 0;
  while (i < words && __atomic_load_n(low + i, __ATOMIC_RELAXED) == paint_pattern) ++i;
  return s.size - i * sizeof *low;
}

}  // namespace coir::fiber
