#include <coir/fiber/stack.hpp>

#include "stack_slab.hpp"

// Always true: the cached stacks are all of the common size, at most `limit`, and count as in use
// with the pool.

namespace coir::fiber {

namespace {
constexpr std::size_t refill_count = 32;  // a lock and a guard call for so many stacks
constexpr std::size_t kept_when_idle = 8;

// Cuts the list after its first `kept` stacks and returns the rest.
stack* cut_after(stack* list, std::size_t kept) noexcept {
  for (std::size_t i = 1; i < kept; ++i) list = list->next;
  stack* rest = list->next;
  list->next = nullptr;
  return rest;
}
}  // namespace

stack_cache::stack_cache(stack_pool& pool, std::size_t common_size) noexcept
    : pool_(pool), common_size_(common_size), usable_(usable_bytes(common_size)) {}

stack_cache::~stack_cache() { pool_.release(hot_); }

stack* stack_cache::refill(std::size_t size) noexcept {
  std::size_t got = 0;
  if (size != common_size_) return pool_.acquire(size, 1, got);
  stack* s = pool_.acquire(size, refill_count, got);
  if (s == nullptr) return nullptr;
  hot_ = s->next;
  cached_ = got - 1;
  return s;
}

void stack_cache::overflow(stack* s) noexcept {
  s->next = nullptr;
  if (s->size != usable_) return pool_.release(s);
  // Full: the colder half goes, so that the next `limit / 2` calls need no lock.
  pool_.release(cut_after(hot_, limit / 2));
  cached_ = limit / 2;
  put(s);
}

void stack_cache::give_back() noexcept {
  if (cached_ > kept_when_idle) {
    pool_.release(cut_after(hot_, kept_when_idle));
    cached_ = kept_when_idle;
  }
  pool_.trim();
}

}  // namespace coir::fiber
