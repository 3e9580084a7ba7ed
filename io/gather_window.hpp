// A gathering send in parts: which bytes are next.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <sys/socket.h>
#include <sys/uio.h>

namespace coir::io {

// The part of the buffers that is still to be sent, as the kernel wants it: a window over them.
class gather_window {
 public:
  explicit gather_window(std::span<const std::span<const std::byte>> buffers,
                         std::size_t most = SIZE_MAX) noexcept
      : buffers_(buffers), most_(most) {
    refill();
  }

  bool empty() const noexcept { return count_ == 0; }
  const msghdr& message() noexcept {
    message_.msg_iov = parts_;
    message_.msg_iovlen = count_;
    return message_;
  }
  void consume(std::size_t n) noexcept {
    while (n != 0 && n >= buffers_.front().size() - offset_) {
      n -= buffers_.front().size() - offset_;
      buffers_ = buffers_.subspan(1);
      offset_ = 0;
    }
    offset_ += n;
    refill();
  }

 private:
  void refill() noexcept {
    count_ = 0;
    while (!buffers_.empty() && buffers_.front().size() == offset_) {
      buffers_ = buffers_.subspan(1);
      offset_ = 0;
    }
    std::size_t skip = offset_, left = most_;
    for (const std::span<const std::byte>& b : buffers_) {
      if (count_ == room || left == 0) break;
      std::span<const std::byte> rest = b.subspan(skip);
      skip = 0;
      if (rest.empty()) continue;
      rest = rest.first(std::min(rest.size(), left));
      parts_[count_++] = {const_cast<std::byte*>(rest.data()), rest.size()};
      left -= rest.size();
    }
  }

  static constexpr std::size_t room = 64;  // below IOV_MAX, and small on the stack
  std::span<const std::span<const std::byte>> buffers_;
  std::size_t most_;
  std::size_t offset_ = 0;  // in the first
  std::size_t count_ = 0;
  iovec parts_[room];
  msghdr message_{};
};

}  // namespace coir::io
