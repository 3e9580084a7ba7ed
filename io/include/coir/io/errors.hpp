// What streams report that the kernel has no number for.
#pragma once
#include <cstddef>
#include <stdexcept>
#include <system_error>

namespace coir {

// The stream ended in the middle of what was asked for. The bytes before the end are in the
// caller's buffer; those that a reader has read can still be read from it.
class incomplete_read : public std::runtime_error {
 public:
  incomplete_read(std::size_t partial, std::size_t expected);
  ~incomplete_read() override;
  incomplete_read(const incomplete_read&) = default;
  incomplete_read& operator=(const incomplete_read&) = default;

  std::size_t partial() const noexcept { return partial_; }  // bytes that were there
  std::size_t expected() const noexcept {
    return expected_;
  }  // bytes that were asked for; 0: not known

 private:
  std::size_t partial_, expected_;
};

// A line, or what was to be read until a delimiter, is longer than the reader's limit.
class limit_exceeded : public std::runtime_error {
 public:
  explicit limit_exceeded(std::size_t limit);
  ~limit_exceeded() override;
  limit_exceeded(const limit_exceeded&) = default;
  limit_exceeded& operator=(const limit_exceeded&) = default;

  std::size_t limit() const noexcept { return limit_; }  // bytes

 private:
  std::size_t limit_;
};

// The same for calls with an std::error_code&.
enum class stream_errc { incomplete_read = 1, limit_exceeded };
const std::error_category& stream_category() noexcept;
inline std::error_code make_error_code(stream_errc e) noexcept {
  return {static_cast<int>(e), stream_category()};
}

}  // namespace coir

template <>
struct std::is_error_code_enum<coir::stream_errc> : std::true_type {};
