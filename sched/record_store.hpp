// Where fiber records come from: slabs of a few sizes, caches of the workers, and a central list.
//
// Always true: a record, once made, is a constructed fiber_record until its slab goes, and slabs go
// only when the runtime has ended and no record is handed out (handles may outlive the runtime).
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include <coir/sched/fiber_record.hpp>

namespace coir::sched {

class record_store;
class runtime_core;

// The start of each slab; a record finds it by rounding its address down.
struct record_slab {
  static constexpr std::size_t bytes = 2 * 1024 * 1024;  // and its alignment
  record_store* store;
  std::uint32_t size_class;
  std::uint32_t stride;
  std::uint32_t count;  // that there is room for
  std::byte* records;
  std::atomic<std::uint32_t> made{
      0};  // constructed, from the first on; under the store's mutex, read by walkers

  fiber_record& at(std::uint32_t i) noexcept {
    return *reinterpret_cast<fiber_record*>(records + std::size_t{i} * stride);
  }
  static record_slab& of(const fiber_record& f) noexcept {
    return *reinterpret_cast<record_slab*>(reinterpret_cast<std::uintptr_t>(&f) & ~(bytes - 1));
  }
};

// A worker's free records of each class, the one that came last on top. By address and not linked
// through the records, so that what lies on top can be fetched ahead.
struct free_records {
  static constexpr std::uint32_t most = 127, ahead = 4;
  struct stack {
    std::uint32_t size = 0;
    std::array<fiber_record*, most> items;
  };
  static_assert(sizeof(stack) == 1024, "found by a shift");
  std::array<stack, payload_sizes.size()> of_class;

  bool empty(std::uint32_t c) const noexcept { return of_class[c].size == 0; }
  bool full(std::uint32_t c) const noexcept { return of_class[c].size == most; }
  fiber_record& pop(std::uint32_t c) noexcept {  // not empty
    stack& s = of_class[c];
    fiber_record& f = *s.items[--s.size];
    if (s.size >= ahead) {
      const auto* later = reinterpret_cast<const std::byte*>(s.items[s.size - ahead]);
      __builtin_prefetch(later + record_hot_offset, 1);
      __builtin_prefetch(later + record_hot_offset + 64, 1);
    }
    return f;
  }
  void push(std::uint32_t c, fiber_record& f) noexcept {  // not full
    stack& s = of_class[c];
    s.items[s.size++] = &f;
  }
};

class record_store {
 public:
  static constexpr std::uint32_t batch = 32;

  // For a worker's cache: moves up to `batch` records into it, which is empty; throws
  // std::bad_alloc if there is none.
  void refill(free_records& cache, std::uint32_t size_class);
  // All but the `keep` that came last.
  void drain(free_records& cache, std::uint32_t size_class, std::uint32_t keep) noexcept;

  // For everybody else.
  fiber_record& allocate(std::uint32_t size_class);
  void free(fiber_record&) noexcept;

  // Every record that has been live at some time; those of others change meanwhile. Takes no lock
  // that a spawn takes often.
  void for_each(const std::function<void(fiber_record&)>&);

  std::atomic<runtime_core*> owner{nullptr};  // null once the runtime has ended

  // Foreign threads that are about to touch the runtime or one of its workers. They count
  // themselves before the push that lets a fiber run (after which the runtime may end), or before
  // they read `owner`; the runtime's destructor takes `owner` away and waits until nobody is
  // counted.
  std::atomic<std::uint32_t> senders{0};

  // The runtime's end: the store goes at once, or with the last record that is handed out.
  void abandon() noexcept;

 private:
  ~record_store();
  void make_batch(std::uint32_t size_class);                   // locked; at least one, into free_
  void make_room(std::uint32_t size_class, std::size_t more);  // locked
  static void touch(record_slab&, std::uint32_t first, std::uint32_t end) noexcept;
  record_slab& grow(std::uint32_t size_class);     // locked
  record_slab* slab_number(std::size_t) noexcept;  // null: there are less

  std::mutex mutex_;
  // Free; each has room for all that have been made, so that a free needs no memory. Under mutex_
  std::array<std::vector<fiber_record*>, payload_sizes.size()> free_;
  std::array<std::size_t, payload_sizes.size()>
      capacity_{};                   // of all slabs of a class; under mutex_
  std::vector<record_slab*> slabs_;  // under mutex_
  std::array<record_slab*, payload_sizes.size()> newest_{};  // of each class; under mutex_
  std::size_t handed_out_ = 0;                               // under mutex_; caches included
  bool abandoned_ = false;                                   // under mutex_
};

class sender {
 public:
  explicit sender(record_store& s) noexcept : store_(s) {
    store_.senders.fetch_add(1, std::memory_order_seq_cst);
  }
  ~sender() { store_.senders.fetch_sub(1, std::memory_order_release); }
  sender(const sender&) = delete;
  sender& operator=(const sender&) = delete;

 private:
  record_store& store_;
};

}  // namespace coir::sched
