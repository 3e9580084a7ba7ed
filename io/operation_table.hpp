// Operations in flight, by the numbers under which the kernel knows them: an index and a
// generation, never an address, so that a completion which should not exist finds nothing.
//
// Always true: a number is live from insert() to the erase() of the same; a slot's next number
// differs from all before (until 2^32 uses of one slot).
#pragma once
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace coir::io {

template <class T>
class operation_table {
 public:
  // Makes sure that the next insert() needs no memory. False: there is none.
  bool reserve_one() noexcept {
    if (free_ != nothing || slots_.size() < slots_.capacity()) return true;
    try {
      slots_.reserve(slots_.empty() ? 256 : slots_.size() * 2);
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  }

  std::uint64_t insert(T what) noexcept {
    std::uint32_t index = free_;
    if (index == nothing) {
      index = static_cast<std::uint32_t>(slots_.size());
      slots_.push_back({});
    } else {
      free_ = slots_[index].next_free;
    }
    slots_[index].what = what;
    slots_[index].live = true;
    ++live_;
    return std::uint64_t{slots_[index].generation} << 32 | index;
  }

  void replace(std::uint64_t number, T what) noexcept {  // a live one
    slots_[static_cast<std::uint32_t>(number)].what = what;
  }

  // Null: not live. Valid until the next insert().
  const T* find(std::uint64_t number) const noexcept {
    const auto index = static_cast<std::uint32_t>(number);
    if (index >= slots_.size() || slots_[index].generation != number >> 32 || !slots_[index].live)
      return nullptr;
    return &slots_[index].what;
  }

  void erase(std::uint64_t number) noexcept {  // a live one
    slot& s = slots_[static_cast<std::uint32_t>(number)];
    s.live = false;
    ++s.generation;
    s.next_free = free_;
    free_ = static_cast<std::uint32_t>(number);
    --live_;
  }

  std::size_t size() const noexcept { return live_; }

 private:
  static constexpr std::uint32_t nothing = ~0u;
  struct slot {
    T what{};
    bool live = false;
    std::uint32_t generation = 0;
    std::uint32_t next_free = nothing;
  };

  std::vector<slot> slots_;
  std::uint32_t free_ = nothing;
  std::size_t live_ = 0;
};

}  // namespace coir::io
