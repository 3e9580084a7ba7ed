#include <coir/io/activation.hpp>

#include <charconv>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>

#include <unistd.h>

#include "system_calls.hpp"

namespace coir {
namespace {

constexpr handle_type first = 3;  // SD_LISTEN_FDS_START

// A whole number from the environment; none: it is not set.
std::optional<int> number(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return {};
  const std::string_view all = text;
  int n = 0;
  const auto [end, error] = std::from_chars(all.data(), all.data() + all.size(), n);
  if (error != std::errc() || end != all.data() + all.size() || n < 0)
    throw std::invalid_argument("coir: " + std::string(variable) + " is \"" + text +
                                "\", not a number");
  return n;
}

// The part before the next colon, which it takes away.
std::string next_name(std::string_view& names) {
  const auto colon = names.find(':');
  std::string name(names.substr(0, colon));
  names.remove_prefix(colon == names.npos ? names.size() : colon + 1);
  return name.empty() ? "unknown" : name;
}

}  // namespace

std::vector<inherited_handle> listen_handles() {
  if (number("LISTEN_PID") != ::getpid()) return {};
  const int count = number("LISTEN_FDS").value_or(0);
  const char* const listed = std::getenv("LISTEN_FDNAMES");
  std::string_view names = listed == nullptr ? "" : listed;
  std::vector<inherited_handle> all;
  for (handle_type fd = first; fd - first < count; ++fd) {
    if (const int result = io::sys::set_close_on_exec(fd); result < 0)
      throw std::system_error(-result, std::system_category(),
                              "coir: LISTEN_FDS names descriptor " + std::to_string(fd));
    all.push_back({fd, next_name(names)});
  }
  return all;
}

}  // namespace coir
