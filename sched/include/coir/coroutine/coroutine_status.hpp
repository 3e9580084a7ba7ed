// What coroutines and generators have in common for their users: states, errors, a question.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace coir {

enum class coroutine_status : std::uint8_t {
  suspended,  // not started, or in a yield
  running,    // its body runs, or waits for something that is no coroutine
  normal,     // has resumed another, which has not yielded yet
  dead,       // has returned, or an error has left it
};

// Thrown by the yields of a coroutine that is being closed, so that its body unwinds. Derives from
// nothing, so that a handler of std::exception lets it through.
struct coroutine_closed {};

// A dead coroutine was resumed.
class dead_coroutine : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Whether the calling code runs in a coroutine or generator. Any fiber, any thread.
bool coroutine_running() noexcept;

// Bytes; what a coroutine has if it is not told, or told 0. Reserved: pages are committed on first
// touch.
inline constexpr std::size_t default_coroutine_stack = 256 * 1024;

}  // namespace coir
