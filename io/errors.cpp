#include <coir/io/errors.hpp>

#include <string>

namespace coir {
namespace {

class stream_category_type final : public std::error_category {
 public:
  const char* name() const noexcept override { return "coir.stream"; }
  std::string message(int value) const override {
    switch (static_cast<stream_errc>(value)) {
      case stream_errc::incomplete_read:
        return "end of stream before all was read";
      case stream_errc::limit_exceeded:
        return "longer than the reader's limit";
    }
    return "unknown stream error";
  }
};

}  // namespace

incomplete_read::incomplete_read(std::size_t partial, std::size_t expected)
    : std::runtime_error("coir: end of stream after " + std::to_string(partial) +
                         (expected != 0 ? " of " + std::to_string(expected) + " bytes"
                                        : " bytes, before the delimiter")),
      partial_(partial),
      expected_(expected) {}
incomplete_read::~incomplete_read() = default;

limit_exceeded::limit_exceeded(std::size_t limit)
    : std::runtime_error("coir: longer than the reader's limit of " + std::to_string(limit) +
                         " bytes"),
      limit_(limit) {}
limit_exceeded::~limit_exceeded() = default;

const std::error_category& stream_category() noexcept {
  static const stream_category_type category;
  return category;
}

}  // namespace coir
