// Bytes on their way between a stream and its user, in one block of memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace coir::io {

// They are added at the end and dropped from the front. One user at a time.
class byte_queue {
 public:
  byte_queue() noexcept = default;
  byte_queue(byte_queue&& other) noexcept { swap(other); }
  byte_queue& operator=(byte_queue&& other) noexcept {
    byte_queue taken(std::move(other));
    swap(taken);
    return *this;
  }

  std::size_t size() const noexcept { return end_ - begin_; }
  bool empty() const noexcept { return begin_ == end_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::span<const std::byte> bytes() const noexcept { return {memory_.get() + begin_, size()}; }
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(memory_.get()) + begin_, size()};
  }

  // The free memory behind the last byte, `at_least` bytes of it. Throws std::bad_alloc, and then
  // nothing has changed.
  std::span<std::byte> room(std::size_t at_least) {
    if (capacity_ - end_ < at_least) make_room(at_least);
    return {memory_.get() + end_, capacity_ - end_};
  }
  void added(std::size_t n) noexcept { end_ += n; }  // the first n bytes of room() have been filled
  void append(std::span<const std::byte> more) {
    if (more.empty()) return;
    std::memcpy(room(more.size()).data(), more.data(), more.size());
    added(more.size());
  }

  void drop(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ != end_) return;
    begin_ = end_ = 0;
    if (capacity_ > kept_when_empty) *this = byte_queue();
  }

  void swap(byte_queue& other) noexcept {
    memory_.swap(other.memory_);
    std::swap(capacity_, other.capacity_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
  }

 private:
  static constexpr std::size_t kept_when_empty = 128 * 1024;

  // By moving what is there to the front if that is the smaller part; else twice the memory.
  void make_room(std::size_t at_least) {
    const std::size_t used = size();
    if (begin_ >= used && capacity_ - used >= at_least) {
      if (used != 0) std::memmove(memory_.get(), memory_.get() + begin_, used);
    } else {
      const std::size_t wanted = std::max(2 * capacity_, used + at_least);
      auto bigger = std::make_unique_for_overwrite<std::byte[]>(wanted);
      if (used != 0) std::memcpy(bigger.get(), memory_.get() + begin_, used);
      memory_ = std::move(bigger);
      capacity_ = wanted;
    }
    begin_ = 0;
    end_ = used;
  }

  std::unique_ptr<std::byte[]> memory_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace coir::io
