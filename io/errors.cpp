#include <coir/io/errors.hpp>

#include <string>

namespace coir {
namespace {

class stream_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "coir.stream"; }
  std::string message(int value) const override {
    return value == static_cast<int>(stream_errc::incomplete_read)
               ? "end of stream before all was read"
               : "unknown stream error";
  }
};

}  // namespace

incomplete_read::incomplete_read(std::size_t partial, std::size_t expected)
    : std::runtime_error("coir: end of stream after " + std::to_string(partial) + " of " +
                         std::to_string(expected) + " bytes"),
      partial_(partial),
      expected_(expected) {}
incomplete_read::~incomplete_read() = default;

const std::error_category& stream_category() noexcept {
  static const stream_category_type category;
  return category;
}

}  // namespace coir
