// The page below a stack that must not be written, and the kernel's two ways to enforce it.
#pragma once
#include <coir/fiber/stack.hpp>

#include <cstddef>
#include <span>

namespace coir::fiber {

// Whether this kernel enforces MADV_GUARD_INSTALL (Linux 6.13), found out by installing one and
// having the kernel read it; an emulator that accepts any advice is found out too. Sets errno when
// it does not.
bool can_install_guards() noexcept;

// Guards of one page at each place. How many, from the first on, now have one. Any thread.
std::size_t install_guards(std::span<std::byte* const> places) noexcept;
bool protect_guard(std::byte* place) noexcept;

// The canary: a pattern just below the limit, which an overflow of any depth but a jump overwrites.
void write_canary(stack&) noexcept;
bool canary_intact(const stack&) noexcept;

// vm.max_map_count, or the kernel's default where it cannot be read.
std::size_t max_map_count() noexcept;

}  // namespace coir::fiber
