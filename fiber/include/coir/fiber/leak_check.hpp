// Memory of our own mappings that may hold the only pointer to a block of the heap. Nothing without
// a leak checker.
#pragma once
#include <cstddef>

namespace coir::fiber {

void leak_check_reads(const void* from, std::size_t size) noexcept;
void leak_check_forgets(const void* from, std::size_t size) noexcept;

}  // namespace coir::fiber
