#include <coir/fiber/leak_check.hpp>

#include "sanitizers.hpp"

namespace coir::fiber {

void leak_check_reads(const void* from, std::size_t size) noexcept {
  sanitizers::read_for_leaks(from, size);
}
void leak_check_forgets(const void* from, std::size_t size) noexcept {
  sanitizers::ignore_for_leaks(from, size);
}

}  // namespace coir::fiber
