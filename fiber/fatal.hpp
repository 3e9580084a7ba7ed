// How a bug in the caller ends the process: one line, in every build type.
#pragma once

namespace coir::fiber {

// Writes "coir: MESSAGE" with write(2) alone, because the heap and the streams may be what is
// broken; then aborts.
[[noreturn]] void stop_process(const char* message) noexcept;

}  // namespace coir::fiber
