// Bugs of the caller: a line on stderr that names the thing and the remedy, then abort.
#pragma once

namespace coir::sched {

[[noreturn]] void fatal(const char* format, ...) noexcept __attribute__((format(printf, 1, 2)));

}  // namespace coir::sched
