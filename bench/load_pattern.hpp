// The bytes that a load connection sends, and so has to get back.
//
// An endless sequence with a period that is prime, cut out of one table; each connection begins
// elsewhere. A byte that is lost, doubled, changed or another connection's therefore shows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace bench {

class load_pattern {
 public:
  static constexpr std::size_t longest = 64 * 1024;  // that can be had at once

  load_pattern() : table_(period + longest) {
    std::uint32_t state = 1;
    for (std::size_t i = 0; i < table_.size(); ++i) {
      state = state * 1664525 + 1013904223;
      table_[i] = i < period ? static_cast<std::byte>(state >> 24) : table_[i - period];
    }
  }

  // What a connection sends from its byte `offset` on.
  std::span<const std::byte> at(std::size_t connection, std::uint64_t offset,
                                std::size_t size) const noexcept {
    return {table_.data() + (offset + connection * 2654435761u) % period,
            size < longest ? size : longest};
  }
  bool matches(std::size_t connection, std::uint64_t offset,
               std::span<const std::byte> got) const noexcept {
    return std::memcmp(at(connection, offset, got.size()).data(), got.data(), got.size()) == 0;
  }

 private:
  static constexpr std::size_t period = 65'521;

  std::vector<std::byte> table_;
};

}  // namespace bench
