// Values that belong to a fiber: fiber_local's, and the context that what it starts begins with.
#pragma once
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

namespace coir::sched {

struct waiter;

// A value of a fiber_local, made by one fiber and destroyed with it.
struct local_value {
  virtual ~local_value() = default;
  std::uint64_t key = 0;
  local_value* older = nullptr;
};

// Which fiber_local. The index is used again when it has gone, the key never.
class local_slot {
 public:
  local_slot();
  ~local_slot();
  local_slot(const local_slot&) = delete;
  local_slot& operator=(const local_slot&) = delete;

  std::uint32_t index;
  std::uint64_t key;
};

// A value of a context_var: never changed, kept by every context that has it.
struct context_value {
  virtual ~context_value() = default;
  std::atomic<std::uint32_t> references{1};
};

// A context is a list of nodes, the latest first; what is behind a node never changes, so a copy is
// a reference to the first.
struct context_node {
  std::atomic<std::uint32_t> references{1};
  std::uint32_t length = 1;        // of the list that begins here
  std::uint64_t key = 0;           // of a context_var
  context_value* value = nullptr;  // a reference; null: as if it had never been set
  context_node* next = nullptr;    // a reference
};

// One fiber's (or thread's) own, touched by nobody else.
class fiber_storage {
 public:
  fiber_storage() = default;
  ~fiber_storage() { clear(); }
  fiber_storage(const fiber_storage&) = delete;
  fiber_storage& operator=(const fiber_storage&) = delete;

  local_value* find(const local_slot& s) const noexcept {  // null: there is none
    local_value* const v = s.index < slots_.size() ? slots_[s.index] : nullptr;
    return v != nullptr && v->key == s.key ? v : nullptr;
  }
  void keep(const local_slot&, local_value*);  // takes it; std::bad_alloc: does not
  void drop(const local_slot&) noexcept;
  void clear_locals() noexcept;  // the latest first, and what their destructors make
  void clear() noexcept;

  context_node* context = nullptr;  // a reference
  std::uint32_t compact_at = 16;    // length at which what is hidden is left out of the context

 private:
  void unlink(local_value*) noexcept;

  std::vector<local_value*> slots_;
  local_value* newest_ = nullptr;
};

// Of the fiber that runs the caller, or of the thread. Never kept across a blocking call's switch
// by anybody but that fiber. A guest's has none: std::system_error(operation_not_permitted).
fiber_storage& storage_here();  // made at first use: std::bad_alloc
fiber_storage* storage_here_if_any() noexcept;
void end_fiber_locals() noexcept;  // of the fiber or thread that calls

// --- contexts
std::uint64_t new_context_key() noexcept;
context_value* find_in_context(std::uint64_t key) noexcept;    // here; null: never set
void set_in_context(std::uint64_t key, context_value* value);  // takes the reference, also if it
                                                               // throws
void release(context_value*) noexcept;
void release(context_node*) noexcept;
inline context_node* retained(context_node* n) noexcept {
  if (n != nullptr) n->references.fetch_add(1, std::memory_order_relaxed);
  return n;
}
context_node* context_here() noexcept;  // null: nothing was set

// The caller's context, to be given to what it starts that is no fiber of its own: a job of a pool,
// a function of a timer.
class context_snapshot {
 public:
  context_snapshot() noexcept;
  context_snapshot(context_snapshot&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)) {}
  context_snapshot& operator=(context_snapshot&&) = delete;
  ~context_snapshot() { release(first_); }

  // Puts it in the place of the running fiber's, or thread's, until it goes.
  class installed {
   public:
    explicit installed(const context_snapshot&);  // std::bad_alloc
    ~installed();
    installed(const installed&) = delete;
    installed& operator=(const installed&) = delete;

   private:
    context_node* before_ = nullptr;
  };

 private:
  context_node* first_;  // a reference
};

// Sets a variable until it goes; an open scope of the fiber. Its going needs no memory.
class context_scope {
 public:
  context_scope(std::uint64_t key, context_value*);
  ~context_scope();
  context_scope(const context_scope&) = delete;
  context_scope& operator=(const context_scope&) = delete;

 private:
  waiter* const who_;
  context_node* spare_;  // what it was before
  context_node* mine_;   // a reference
};

}  // namespace coir::sched
