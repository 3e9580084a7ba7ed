#include "fatal.hpp"

#include <unistd.h>
#include <cstdlib>
#include <cstring>

namespace coir::fiber {

namespace {
void say(const char* text) noexcept {
  // Nobody is left to tell if standard error is closed.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
}
}  // namespace

void stop_process(const char* message) noexcept {
  say("coir: ");
  say(message);
  say("\n");
  std::abort();
}

}  // namespace coir::fiber
