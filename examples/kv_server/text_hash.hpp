// A hash of bytes, eight at a time: of keys, with a seed that no client can know, so that nobody
// can send keys which all fall into one bucket; of the log's blocks, with none, as their checksum.
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kv {

inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) noexcept {
  __extension__ using wide = unsigned __int128;
  const wide product = static_cast<wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_of(std::string_view text, std::uint64_t seed) noexcept {
  // Odd, half of their bits set, and without a pattern; nothing else matters about them.
  constexpr std::uint64_t a = 0x9d8f3c5be1462a97, b = 0xc3a5692d74f1be4d;
  std::uint64_t h = seed ^ fold(text.size() ^ b, a);
  while (text.size() >= 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data(), 8);
    h = fold(h ^ word, a) ^ b;
    text.remove_prefix(8);
  }
  std::uint64_t rest = 0;
  if (!text.empty()) std::memcpy(&rest, text.data(), text.size());
  return fold(fold(h ^ rest, a) ^ seed, b);
}

}  // namespace kv
