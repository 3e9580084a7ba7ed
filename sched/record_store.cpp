#include "record_store.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

#include <sys/mman.h>

#include <coir/fiber/leak_check.hpp>

#include "fiber_extras.hpp"

namespace coir::sched {

namespace {

#ifdef MADV_POPULATE_WRITE
constexpr int populate_write = MADV_POPULATE_WRITE;
#else
constexpr int populate_write = 23;  // Linux 5.14
#endif

}  // namespace

record_slab& record_store::grow(std::uint32_t size_class) {
  // Aligned by mapping twice the size and trimming, so that a record finds its slab.
  constexpr std::size_t size = record_slab::bytes;
  void* raw = ::mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) throw std::bad_alloc();
  const auto address = reinterpret_cast<std::uintptr_t>(raw);
  const auto start = (address + size - 1) & ~(size - 1);
  if (start != address) ::munmap(raw, start - address);
  if (address + 2 * size != start + size)
    ::munmap(reinterpret_cast<void*>(start + size), address + size - start);

  auto* slab = new (reinterpret_cast<void*>(start)) record_slab;
  // What is touched most of a record begins with a cache line; of the smallest ones with a pair of
  // lines, which are fetched together.
  constexpr std::size_t line = 64, pair = 2 * line;
  const std::size_t stride = (payload_offset + payload_sizes[size_class] + line - 1) / line * line;
  constexpr std::size_t head =
      (sizeof(record_slab) + record_hot_offset + pair - 1) / pair * pair - record_hot_offset;
  static_assert(head >= sizeof(record_slab) && head % alignof(fiber_record) == 0);
  slab->store = this;
  slab->size_class = size_class;
  slab->stride = static_cast<std::uint32_t>(stride);
  slab->count = static_cast<std::uint32_t>((size - head) / stride);
  slab->records = reinterpret_cast<std::byte*>(start + head);
  try {
    make_room(size_class, slab->count);
    slabs_.push_back(slab);
  } catch (...) {
    ::munmap(slab, size);
    throw;
  }
  capacity_[size_class] += slab->count;
  fiber::leak_check_reads(slab, size);
  // Large pages for a program with many fibers, but by the kernel's own thread, later: the slab has
  // been touched. Faults that bring them take a third of the time where their memory is at hand,
  // and six times as long where a virtual machine has to get it from its host first.
  if (newest_[size_class] != nullptr) ::madvise(slab, size, MADV_HUGEPAGE);
  return *(newest_[size_class] = slab);
}

// None is free now, so nothing is copied.
void record_store::make_room(std::uint32_t size_class, std::size_t more) {
  auto& free = free_[size_class];
  const std::size_t all = capacity_[size_class] + more;
  if (free.capacity() < all) free.reserve(std::max(all, 2 * free.capacity()));
}

// For a program with many fibers: pages before they are touched, sixteen at a time, which takes two
// thirds of what a fault each does. An older kernel refuses, and faults.
void record_store::touch(record_slab& slab, std::uint32_t first, std::uint32_t end) noexcept {
  constexpr std::uintptr_t piece = 64 * 1024;
  const auto begin_of_piece = [&](std::uint32_t i) {
    return (reinterpret_cast<std::uintptr_t>(&slab.at(i)) + piece - 1) & ~(piece - 1);
  };
  const auto from = first == 0 ? reinterpret_cast<std::uintptr_t>(&slab) : begin_of_piece(first);
  const auto to = begin_of_piece(end);
  if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, populate_write);
}

// A few at a time, so that a small program touches little.
void record_store::make_batch(std::uint32_t size_class) {
  record_slab* slab = newest_[size_class];
  if (slab == nullptr || slab->made.load(std::memory_order_relaxed) == slab->count)
    slab = &grow(size_class);
  const std::uint32_t first = slab->made.load(std::memory_order_relaxed);
  const std::uint32_t end = std::min<std::uint32_t>(first + batch, slab->count);
  if (capacity_[size_class] != slab->count) touch(*slab, first, end);
  for (std::uint32_t i = end; i-- > first;)
    free_[size_class].push_back(new (slab->records + std::size_t{i} * slab->stride) fiber_record);
  slab->made.store(end, std::memory_order_release);
}

void record_store::refill(free_records& cache, std::uint32_t size_class) {
  std::lock_guard lock(mutex_);
  auto& free = free_[size_class];
  if (free.empty()) make_batch(size_class);
  const auto n = std::min<std::size_t>(batch, free.size());
  auto& to = cache.of_class[size_class];
  std::copy(free.end() - static_cast<std::ptrdiff_t>(n), free.end(), to.items.begin());
  free.resize(free.size() - n);
  to.size = static_cast<std::uint32_t>(n);
  handed_out_ += n;
}

void record_store::drain(free_records& cache, std::uint32_t size_class,
                         std::uint32_t keep) noexcept {
  auto& from = cache.of_class[size_class];
  if (from.size <= keep) return;
  const std::uint32_t n = from.size - keep;
  {
    std::lock_guard lock(mutex_);
    free_[size_class].insert(free_[size_class].end(), from.items.begin(), from.items.begin() + n);
    handed_out_ -= n;
  }
  std::copy(from.items.begin() + n, from.items.begin() + from.size, from.items.begin());
  from.size = keep;
}

fiber_record& record_store::allocate(std::uint32_t size_class) {
  std::lock_guard lock(mutex_);
  auto& free = free_[size_class];
  if (free.empty()) make_batch(size_class);
  ++handed_out_;
  fiber_record& f = *free.back();
  free.pop_back();
  return f;
}

void record_store::free(fiber_record& f) noexcept {
  bool last;
  {
    std::lock_guard lock(mutex_);
    free_[record_slab::of(f).size_class].push_back(&f);
    last = --handed_out_ == 0 && abandoned_;
  }
  if (last) delete this;
}

record_slab* record_store::slab_number(std::size_t n) noexcept {
  std::lock_guard lock(mutex_);
  return n < slabs_.size() ? slabs_[n] : nullptr;
}

// Without a copy of the list, because a runtime that ends may have no memory for one.
void record_store::for_each(const std::function<void(fiber_record&)>& visit) {
  for (std::size_t n = 0; record_slab* const slab = slab_number(n); ++n)
    for (std::uint32_t i = 0; i < slab->made.load(std::memory_order_acquire); ++i)
      if (slab->at(i).life.load(std::memory_order_acquire) & 1) visit(slab->at(i));
}

void record_store::abandon() noexcept {
  bool unused;
  {
    std::lock_guard lock(mutex_);
    abandoned_ = true;
    unused = handed_out_ == 0;
  }
  if (unused) delete this;
}

record_store::~record_store() {
  for (record_slab* slab : slabs_) {
    for (std::uint32_t i = 0; i < slab->made.load(std::memory_order_relaxed); ++i) {
      delete slab->at(i).extras.load(std::memory_order_relaxed);
      slab->at(i).~fiber_record();
    }
    fiber::leak_check_forgets(slab, record_slab::bytes);
    ::munmap(slab, record_slab::bytes);
  }
}

}  // namespace coir::sched
