#include "fatal.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include <unistd.h>

namespace coir::sched {

void fatal(const char* format, ...) noexcept {
  char line[512] = "coir: ";
  std::va_list arguments;
  va_start(arguments, format);
  int n = 6 + std::vsnprintf(line + 6, sizeof line - 8, format, arguments);
  va_end(arguments);
  if (n > static_cast<int>(sizeof line) - 2) n = sizeof line - 2;
  line[n++] = '\n';
  [[maybe_unused]] auto written = ::write(STDERR_FILENO, line, static_cast<std::size_t>(n));
  std::abort();
}

}  // namespace coir::sched
