// Cuts buffers into the plaintext of records; small ones are joined.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace coir::io {

class record_cutter {
 public:
  using bytes = std::span<const std::byte>;
  record_cutter(std::span<const bytes> parts, std::size_t most) : parts_(parts), most_(most) {
    skip_empty();
  }

  bool empty() const noexcept { return parts_.empty(); }

  // `most` bytes, or all that is left. Valid until the next call.
  bytes next() {
    if (parts_.size() == 1 || rest().size() >= most_) return take(most_);
    joined_.clear();
    while (!empty() && joined_.size() != most_) {
      const bytes part = take(most_ - joined_.size());
      joined_.insert(joined_.end(), part.begin(), part.end());
    }
    return joined_;
  }

 private:
  bytes rest() const noexcept { return parts_.front().subspan(offset_); }
  bytes take(std::size_t at_most) noexcept {
    const bytes part = rest().first(std::min(at_most, rest().size()));
    offset_ += part.size();
    skip_empty();
    return part;
  }
  void skip_empty() noexcept {
    while (!parts_.empty() && offset_ == parts_.front().size()) {
      parts_ = parts_.subspan(1);
      offset_ = 0;
    }
  }

  std::span<const bytes> parts_;
  const std::size_t most_;
  std::size_t offset_ = 0;  // in the first
  std::vector<std::byte> joined_;
};

}  // namespace coir::io
