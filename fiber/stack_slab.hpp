// One mapping cut into stacks of one size class: where they lie, which are free, which are guarded.
//
// A stack's place, `stride` bytes from low to high addresses:
//
//   | guard, a page | up to colour_span unused | frames, growing down ... | header | colour |
//
// Always true:
// - a place is free (in `free_`) or handed out, and `in_use_` counts the second kind;
// - `warm_` marks the places whose header has been written since the memory was last the kernel's:
// only theirs may be
//   read while they are free;
// - `guarded_` marks the places whose guard the kernel enforces; it outlives every release and
// MADV_DONTNEED.
#pragma once
#include <coir/fiber/stack.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace coir::fiber {

std::size_t page_size() noexcept;

// Bytes that frames can use of a stack whose place is `stride` bytes.
std::size_t usable_bytes(std::size_t stride) noexcept;

// A set of small numbers that finds its lowest member from a remembered lower bound.
class bitmap {
 public:
  explicit bitmap(std::size_t bits, bool value) : words_((bits + 63) / 64, 0) {
    if (value)
      for (std::size_t i = 0; i < bits; ++i) words_[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  bool test(std::size_t i) const noexcept { return (words_[i / 64] >> (i % 64) & 1) != 0; }
  void set(std::size_t i) noexcept { words_[i / 64] |= std::uint64_t{1} << (i % 64); }
  void clear(std::size_t i) noexcept { words_[i / 64] &= ~(std::uint64_t{1} << (i % 64)); }
  std::size_t words() const noexcept { return words_.size(); }
  std::uint64_t word(std::size_t w) const noexcept { return words_[w]; }

 private:
  std::vector<std::uint64_t> words_;
};

// Everything but the addresses is under the pool's lock.
class stack_slab {
 public:
  // Null if there is no address space, or no memory for the bitmaps.
  static std::unique_ptr<stack_slab> map(std::size_t stride, std::uint32_t capacity) noexcept;
  ~stack_slab();  // unmaps
  stack_slab(const stack_slab&) = delete;
  stack_slab& operator=(const stack_slab&) = delete;

  std::size_t stride() const noexcept { return stride_; }
  std::size_t bytes() const noexcept { return stride_ * capacity_; }
  std::byte* place(std::uint32_t index) const noexcept { return base_ + index * stride_; }
  stack* header(std::uint32_t index) const noexcept;
  stack* write_header(std::uint32_t index) noexcept;  // touches the page

  std::uint32_t capacity() const noexcept { return capacity_; }
  std::uint32_t in_use() const noexcept { return in_use_; }
  std::uint32_t warm_free() const noexcept { return warm_free_; }
  bool full() const noexcept { return in_use_ == capacity_; }
  bool empty() const noexcept { return in_use_ == 0; }

  bool is_free(std::uint32_t i) const noexcept { return free_.test(i); }
  bool is_warm(std::uint32_t i) const noexcept { return warm_.test(i); }
  bool is_guarded(std::uint32_t i) const noexcept { return guarded_.test(i); }
  void mark_guarded(std::uint32_t i, guard_kind by) noexcept {
    guarded_.set(i);
    if (by == guard_kind::protect) ++protected_places_;
  }
  std::uint32_t protected_places() const noexcept { return protected_places_; }

  std::uint32_t
  take() noexcept;  // not when full; one that holds pages, if there is one, else the lowest
  void put(std::uint32_t index) noexcept;            // it becomes free and warm
  void put_untouched(std::uint32_t index) noexcept;  // taken, and never written

  // Moves the next run of free warm places, from `from` on, to the taken side, so that they can be
  // worked on without the lock. False: there is none.
  bool take_warm_run(std::uint32_t from, std::uint32_t& first, std::uint32_t& count) noexcept;
  void put_cold_run(std::uint32_t first,
                    std::uint32_t count) noexcept;  // their memory is the kernel's again

  bool listed_open = false;  // in the size class's list of slabs that have free places

 private:
  stack_slab(std::byte* base, std::size_t stride, std::uint32_t capacity);
  void mark_taken(std::uint32_t index) noexcept;

  std::byte* const base_;
  const std::size_t stride_;
  const std::uint32_t capacity_;
  std::uint32_t in_use_ = 0;
  std::uint32_t warm_free_ = 0;
  std::uint32_t protected_places_ = 0;  // what unmapping returns to the budget
  std::size_t first_free_word_ = 0;     // no free place lies in a word below
  bitmap free_, warm_, guarded_;
};

}  // namespace coir::fiber
