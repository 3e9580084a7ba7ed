#include <coir/sched/options.hpp>

#include <charconv>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace coir {

namespace {

[[noreturn]] void bad(const char* variable, std::string_view value, const char* expected) {
  throw std::invalid_argument(std::string("coir: ") + variable + "=" + std::string(value) +
                              " is not " + expected);
}

// A whole number of the variable, if it is set and not empty.
template <class T>
bool read_number(const char* variable, T most, const char* expected, T& into) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return false;
  const std::string_view value = text;
  T number{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{} || end != value.data() + value.size() || number > most)
    bad(variable, value, expected);
  into = number;
  return true;
}

}  // namespace

options options::from_environment() {
  options o;
  read_number("COIR_WORKERS", 1024u, "a number of workers from 0 (as many as may be used) to 1024",
              o.workers);
  if (read_number("COIR_STACK_SIZE", SIZE_MAX, "a number of bytes", o.stack_size) &&
      o.stack_size == 0)
    bad("COIR_STACK_SIZE", "0", "a number of bytes above 0");
  unsigned microseconds;
  if (read_number("COIR_IDLE_POLL", 1'000'000u, "a number of microseconds up to 1000000",
                  microseconds))
    o.idle_poll = std::chrono::microseconds(microseconds);
  unsigned log = 0;
  if (read_number("COIR_LOG_REACTOR", 1u, "0 or 1", log)) o.log_reactor = log != 0;
  if (const char* text = std::getenv("COIR_REACTOR"); text != nullptr && *text != '\0') {
    const std::string_view name = text;
    if (name == "automatic")
      o.reactor = reactor_kind::automatic;
    else if (name == "uring")
      o.reactor = reactor_kind::uring;
    else if (name == "uring_oneshot")
      o.reactor = reactor_kind::uring_oneshot;
    else if (name == "epoll")
      o.reactor = reactor_kind::epoll;
    else if (name == "iocp")
      o.reactor = reactor_kind::iocp;
    else
      bad("COIR_REACTOR", name, "one of automatic, uring, uring_oneshot, epoll, iocp");
  }
  return o;
}

}  // namespace coir
