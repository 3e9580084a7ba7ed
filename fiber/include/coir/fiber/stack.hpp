// Stacks: cut from big mappings, guarded, cached per worker, given back after a peak.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace coir::fiber {

class stack_slab;

// How a stack is kept from growing into its neighbour, best first.
enum class guard_kind : std::uint8_t {
  automatic,  // the best that the kernel and the budget allow
  install,    // MADV_GUARD_INSTALL (Linux 6.13): splits no mapping
  protect,    // mprotect: two mappings a stack, within a budget of vm.max_map_count
  canary,     // a pattern below the stack, looked at when the stack is released
};

// The header of a stack. It lies at the top of the stack's own memory, above the first frame, so
// that a parked fiber costs one touched page. The memory usable by frames is [limit, this).
struct stack {
  std::byte* limit = nullptr;  // the lowest usable byte; the guard lies below
  std::size_t size = 0;        // usable bytes, header excluded
  stack* next = nullptr;       // in a cache
  stack_slab* slab = nullptr;  // null: a thread's own stack
  std::uint32_t index = 0;     // in its slab
  std::uint32_t valgrind_id = 0;
  void* fake_stack = nullptr;  // AddressSanitizer's
  void* tsan_fiber = nullptr;  // ThreadSanitizer's context
};

struct stack_pool_options {
  guard_kind guard = guard_kind::automatic;
  // Stacks that may be guarded by mprotect at once; 0: a quarter of vm.max_map_count.
  std::size_t protect_budget = 0;
  bool canary_when_spent = true;  // past the budget: canaries; false: acquire fails
};

struct stack_pool_metrics {
  guard_kind guard = guard_kind::automatic;  // what new stacks get
  std::size_t slabs = 0, stacks_in_use = 0, stacks_cached = 0, reserved_bytes = 0;
};

// The source of stacks of one runtime. All members: any thread.
class stack_pool {
 public:
  explicit stack_pool(stack_pool_options = {});
  ~stack_pool();  // every stack has been released
  stack_pool(const stack_pool&) = delete;
  stack_pool& operator=(const stack_pool&) = delete;

  // The size class that serves a request: whole pages, at least the platform's minimum.
  // Throws std::invalid_argument if no stack can be that large.
  static std::size_t rounded(std::size_t bytes);

  // Up to `count` stacks of rounded(bytes), linked by `next`, fullest slabs first; fewer, down to
  // none, when memory, mappings or the guard budget run out. `bytes` has been through rounded().
  stack* acquire(std::size_t bytes, std::size_t count, std::size_t& got) noexcept;
  void release(stack* list) noexcept;  // linked by `next`, of any sizes

  // Returns to the kernel what released stacks still hold; unmaps empty slabs. Not in a spawn: an
  // idle worker's job.
  void trim() noexcept;
  stack_pool_metrics metrics() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

// A worker's own stacks of the common size, last in first out, because the hottest is the cheapest.
// One thread.
class stack_cache {
 public:
  // common_size has been through rounded().
  stack_cache(stack_pool& pool, std::size_t common_size) noexcept;
  ~stack_cache();

  stack* take(std::size_t size) noexcept {  // null: none can be had now
    if (size == common_size_ && hot_ != nullptr) {
      stack* s = hot_;
      hot_ = s->next;
      --cached_;
      return s;
    }
    return refill(size);
  }
  void put(stack* s) noexcept {
    if (!put_early(s)) overflow(s);
  }
  // The same by who still runs on it, and has left it before the next take(). False: it has to be
  // left first.
  bool put_early(stack* s) noexcept {
    if (s->size != usable_ || cached_ >= limit) return false;
    s->next = hot_;
    hot_ = s;
    ++cached_;
    return true;
  }
  void give_back() noexcept;  // an idle worker: all but a few return to the pool, which is trimmed
  std::size_t cached() const noexcept { return cached_; }

  static constexpr std::size_t limit = 256;

 private:
  stack* refill(std::size_t size) noexcept;
  void overflow(stack*) noexcept;

  stack_pool& pool_;
  std::size_t common_size_;
  std::size_t usable_;  // stack::size of a common stack
  stack* hot_ = nullptr;
  std::size_t cached_ = 0;
};

// Bytes of the running stack in use now, and the most that a painted stack has had in use.
std::size_t stack_used_now(const stack&) noexcept;
void paint(stack&) noexcept;  // before its first entry
std::size_t painted_high_water(const stack&) noexcept;

}  // namespace coir::fiber
