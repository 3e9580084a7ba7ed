// Counts of durations in buckets that grow with what they count: 32 to an octave, so that a value
// is known to 3 %.
#pragma once
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class histogram {
 public:
  // Two steps of a bucket number: the octave, and 32 parts of it; values below 32 have a bucket
  // each.
  static constexpr unsigned parts_bits = 5;
  static constexpr std::size_t buckets = (64 - parts_bits + 1) << parts_bits;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= parts_bits) return static_cast<std::size_t>(value);
    const unsigned octave = width - parts_bits;  // 1, 2, ...
    return (static_cast<std::size_t>(octave) << parts_bits) +
           static_cast<std::size_t>(value >> (octave - 1)) - (std::size_t{1} << parts_bits);
  }
  // The middle of what falls into a bucket.
  static constexpr double value_of(std::size_t bucket) noexcept {
    const std::size_t octave = bucket >> parts_bits;
    if (octave == 0) return static_cast<double>(bucket);
    const std::uint64_t first =
        ((bucket & ((std::size_t{1} << parts_bits) - 1)) + (std::uint64_t{1} << parts_bits))
        << (octave - 1);
    return static_cast<double>(first) + static_cast<double>(std::uint64_t{1} << (octave - 1)) / 2;
  }

  void add(std::uint64_t value, std::uint64_t times = 1) noexcept {
    counts_[bucket_of(value)] += times;
  }
  void add_bucket(std::size_t bucket, std::uint64_t times) noexcept { counts_[bucket] += times; }

  std::uint64_t total() const noexcept {
    std::uint64_t n = 0;
    for (const std::uint64_t c : counts_) n += c;
    return n;
  }
  // The value that `part` (0 to 1) of the values do not exceed; 0: there are none.
  double percentile(double part) const noexcept {
    const double wanted = part * static_cast<double>(total());
    std::uint64_t seen = 0;
    std::size_t last = 0;
    for (std::size_t i = 0; i < buckets; ++i) {
      if (counts_[i] == 0) continue;
      seen += counts_[i];
      last = i;
      if (static_cast<double>(seen) >= wanted) break;
    }
    return value_of(last);
  }

  friend histogram operator-(histogram later, const histogram& earlier) noexcept {
    for (std::size_t i = 0; i < buckets; ++i) later.counts_[i] -= earlier.counts_[i];
    return later;
  }

 private:
  std::array<std::uint64_t, buckets> counts_{};
};

// One thread adds, any thread reads: relaxed, because a reader wants no more than recent numbers.
class shared_histogram {
 public:
  void add(std::uint64_t value) noexcept {
    auto& c = counts_[histogram::bucket_of(value)];
    c.store(c.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  void add_to(histogram& sum) const noexcept {
    for (std::size_t i = 0; i < histogram::buckets; ++i)
      if (const auto n = counts_[i].load(std::memory_order_relaxed)) sum.add_bucket(i, n);
  }

 private:
  std::array<std::atomic<std::uint64_t>, histogram::buckets> counts_{};
};

}  // namespace bench
