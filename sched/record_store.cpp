#include "record_store.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

#include <sys/mman.h>

#include <coir/fiber/leak_check.hpp>

#include "fiber_extras.hpp"

namespace coir::sched {

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

  // A program with many fibers touches fresh pages for them: large ones cost a seventh. Not for the
  // first few. Before the first touch, whose small page would stay.
  if (newest_[size_class] != nullptr)
    ::madvise(reinterpret_cast<void*>(start), size, MADV_HUGEPAGE);

  auto* slab = new (reinterpret_cast<void*>(start)) record_slab;
  constexpr std::size_t line = 64;
  const std::size_t stride = (payload_offset + payload_sizes[size_class] + line - 1) / line * line;
  const std::size_t head = (sizeof(record_slab) + line - 1) / line * line;
  slab->store = this;
  slab->size_class = size_class;
  slab->stride = static_cast<std::uint32_t>(stride);
  slab->count = static_cast<std::uint32_t>((size - head) / stride);
  slab->records = reinterpret_cast<std::byte*>(start + head);
  try {
    slabs_.push_back(slab);
  } catch (...) {
    ::munmap(slab, size);
    throw;
  }
  fiber::leak_check_reads(slab, size);
  return *(newest_[size_class] = slab);
}

// A few at a time, so that a small program touches little.
void record_store::make_batch(std::uint32_t size_class) {
  record_slab* slab = newest_[size_class];
  if (slab == nullptr || slab->made.load(std::memory_order_relaxed) == slab->count)
    slab = &grow(size_class);
  const std::uint32_t first = slab->made.load(std::memory_order_relaxed);
  const std::uint32_t end = std::min<std::uint32_t>(first + batch, slab->count);
  for (std::uint32_t i = end; i-- > first;) {
    auto* f = new (slab->records + std::size_t{i} * slab->stride) fiber_record;
    free_.push(size_class, *f);
  }
  slab->made.store(end, std::memory_order_release);
}

void record_store::refill(free_records& cache, std::uint32_t size_class) {
  std::lock_guard lock(mutex_);
  if (free_.of_class[size_class].first == nullptr) make_batch(size_class);
  for (std::size_t i = 0; i < batch; ++i) {
    fiber_record* f = free_.pop(size_class);
    if (f == nullptr) break;
    cache.push(size_class, *f);
    ++handed_out_;
  }
}

void record_store::drain(free_records& cache, std::uint32_t size_class, std::size_t keep) noexcept {
  std::lock_guard lock(mutex_);
  while (cache.of_class[size_class].size > keep) {
    free_.push(size_class, *cache.pop(size_class));
    --handed_out_;
  }
}

fiber_record& record_store::allocate(std::uint32_t size_class) {
  std::lock_guard lock(mutex_);
  if (free_.of_class[size_class].first == nullptr) make_batch(size_class);
  ++handed_out_;
  return *free_.pop(size_class);
}

void record_store::free(fiber_record& f) noexcept {
  bool last;
  {
    std::lock_guard lock(mutex_);
    free_.push(record_slab::of(f).size_class, f);
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
