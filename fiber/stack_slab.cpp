#include "stack_slab.hpp"

#include <sys/mman.h>
#include <unistd.h>
#include <algorithm>
#include <bit>
#include <new>

namespace coir::fiber {

namespace {

// Headers at one distance from a page's end would all fall on the same few sets of the first-level
// cache. They are shifted by a number of steps that depends on the index; a step is two lines,
// because a switch touches the line of the header's neighbour too. The largest shift leaves 2.6 KiB
// of the top page to the frames of a parked fiber.
constexpr std::size_t colour_step = 128;
constexpr std::size_t colours = 12;
constexpr std::size_t colour_span = (colours - 1) * colour_step;
constexpr std::size_t header_bytes = 64;
static_assert(sizeof(stack) <= header_bytes);

constexpr std::size_t colour(std::uint32_t index) noexcept { return index % colours * colour_step; }

}  // namespace

std::size_t page_size() noexcept {
  static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return size;
}

std::size_t usable_bytes(std::size_t stride) noexcept {
  return stride - page_size() - header_bytes - colour_span;
}

std::unique_ptr<stack_slab> stack_slab::map(std::size_t stride, std::uint32_t capacity) noexcept {
  const std::size_t bytes = stride * capacity;
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  // A huge page under a stack would make 2 MiB of one touched page. A kernel without huge pages
  // refuses; no matter.
  ::madvise(base, bytes, MADV_NOHUGEPAGE);
  try {
    return std::unique_ptr<stack_slab>(
        new stack_slab(static_cast<std::byte*>(base), stride, capacity));
  } catch (const std::bad_alloc&) {
    ::munmap(base, bytes);
    return nullptr;
  }
}

stack_slab::stack_slab(std::byte* base, std::size_t stride, std::uint32_t capacity)
    : base_(base),
      stride_(stride),
      capacity_(capacity),
      free_(capacity, true),
      warm_(capacity, false),
      guarded_(capacity, false) {}

stack_slab::~stack_slab() { ::munmap(base_, bytes()); }

stack* stack_slab::header(std::uint32_t index) const noexcept {
  return reinterpret_cast<stack*>(place(index) + stride_ - colour(index) - header_bytes);
}

stack* stack_slab::write_header(std::uint32_t index) noexcept {
  stack* s = new (static_cast<void*>(header(index))) stack{};
  s->size = usable_bytes(stride_);
  s->limit = reinterpret_cast<std::byte*>(s) - s->size;
  s->slab = this;
  s->index = index;
  return s;
}

std::uint32_t stack_slab::take() noexcept {
  while (free_.word(first_free_word_) == 0) ++first_free_word_;
  std::size_t w = first_free_word_;
  std::uint64_t candidates = free_.word(w);
  if (warm_free_ > 0)
    while ((candidates = free_.word(w) & warm_.word(w)) == 0) ++w;
  const auto index =
      static_cast<std::uint32_t>(w * 64 + static_cast<std::size_t>(std::countr_zero(candidates)));
  mark_taken(index);
  return index;
}

void stack_slab::mark_taken(std::uint32_t index) noexcept {
  free_.clear(index);
  ++in_use_;
  if (warm_.test(index)) --warm_free_;
}

void stack_slab::put(std::uint32_t index) noexcept {
  warm_.set(index);
  ++warm_free_;
  put_untouched(index);
}

void stack_slab::put_untouched(std::uint32_t index) noexcept {
  free_.set(index);
  --in_use_;
  first_free_word_ = std::min<std::size_t>(first_free_word_, index / 64);
}

bool stack_slab::take_warm_run(std::uint32_t from, std::uint32_t& first,
                               std::uint32_t& count) noexcept {
  if (warm_free_ == 0) return false;
  const auto free_and_warm = [this](std::uint32_t i) { return free_.test(i) && warm_.test(i); };
  first = from;
  while (first < capacity_ && !free_and_warm(first)) ++first;
  if (first == capacity_) return false;
  count = 0;
  for (std::uint32_t i = first; i < capacity_ && free_and_warm(i); ++i, ++count) mark_taken(i);
  return true;
}

void stack_slab::put_cold_run(std::uint32_t first, std::uint32_t count) noexcept {
  for (std::uint32_t i = first; i < first + count; ++i) {
    warm_.clear(i);
    put_untouched(i);
  }
}

}  // namespace coir::fiber
