// The record of a fiber: all that is known of it but its stack.
//
// Always true: records lie in slabs and are never unmapped while their runtime, or a handle to one
// of them, lives. A record is live from spawn() to its last release; its generation changes at the
// end. What walkers and foreign threads read is atomic; everything else belongs to whoever runs the
// fiber, or to home's gate while it is queued.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>

#include <coir/fiber/context.hpp>
#include <coir/sched/fiber_id.hpp>
#include <coir/sched/reference_count.hpp>
#include <coir/sched/wait_queue.hpp>

namespace coir::sched {

struct fiber_record;
struct fiber_extras;

// What a kind of task does at the turns of its life; one constant a kind.
struct task_functions {
  void (*run)(
      fiber_record&) noexcept;  // calls the function and keeps its result; destroys the function
  void (*drop)(fiber_record&) noexcept;       // destroys a function that will never run
  void (*destroy)(fiber_record&) noexcept;    // destroys the result; at the last release
  void (*ended)(fiber_record&) noexcept;      // tells its group, once it is done; null: none
  void (*abandoned)(fiber_record&) noexcept;  // tells its future that it never will be; null: none
};

enum class task_ending : std::uint8_t { none, value, error, cancelled, abandoned };

// What is touched when a fiber gets a stack, parks, is joined and ends, but not when it is spawned,
// nor when its last handle goes.
struct fiber_depths {
  fiber::context context;
  wait_queue joiners;
  // The joiner that jumped straight to this fiber before it had started; null from its end on.
  waiter* first_joiner = nullptr;
  wait_generation first_joined = 0;
  spin_lock join_lock;                  // for the other joiners and the step to done
  std::atomic<std::uint32_t> since{0};  // when it parked last, as worker::moment() counts
};

// What a spawn and the last release touch, from waiter::next to the first 48 bytes of the payload,
// is two cache lines in one pair (record_store.cpp); of a million tasks that is what costs.
struct fiber_record : fiber_depths, waiter {
  const task_functions* functions = nullptr;
  std::atomic<std::uint64_t> number{0};        // the fiber's id
  std::atomic<fiber_extras*> extras{nullptr};  // what few fibers have: a name, a reason
  reference_count references;                  // of the result
  std::atomic<std::uint32_t> holds{0};  // of the record: all references together, messages
  std::atomic<std::uint32_t> life{0};   // generation << 1 | live; see above
  std::uint32_t stack_pages = 0;
  std::uint16_t shields = 0;            // not 0: no cancellation strikes, at its start and end
  std::uint16_t scopes = 0;             // open timeouts, shields, groups and guards
  task_ending how = task_ending::none;  // what `run` came to; says what the payload holds
  // What others are told; written once, before done.
  std::atomic<task_ending> ending{task_ending::none};
  std::atomic<bool> error_seen{false};  // somebody has read, or will report, how it ended
  std::atomic<bool> starving{false};    // waits for a stack; cleared by whoever has become its home

  fiber_id id() const noexcept { return fiber_id(number.load(std::memory_order_relaxed)); }
  // Or abandoned: then a late wake may have said otherwise of its state.
  bool done() const noexcept {
    return state.load(std::memory_order_acquire) == task_state::done ||
           ending.load(std::memory_order_acquire) == task_ending::abandoned;
  }
  std::byte* payload() noexcept;  // what the task's function and result are kept in
};

static_assert(sizeof(fiber_record) == 192, "the payload lies right behind");
inline constexpr std::size_t record_hot_offset = sizeof(fiber_depths) + touched_by_all;

inline constexpr std::size_t payload_alignment = 16;
inline constexpr std::size_t payload_offset =
    (sizeof(fiber_record) + payload_alignment - 1) / payload_alignment * payload_alignment;

// Records come in a few sizes; which one a payload needs.
inline constexpr std::array<std::size_t, 5> payload_sizes{64, 128, 256, 512, 1600};
template <std::size_t payload>
inline constexpr std::uint32_t payload_class = [] {
  static_assert(payload <= payload_sizes.back(), "larger functions and results lie on the heap");
  std::uint32_t c = 0;
  while (payload > payload_sizes[c]) ++c;
  return c;
}();

inline std::byte* fiber_record::payload() noexcept {
  return reinterpret_cast<std::byte*>(this) + payload_offset;
}

class worker;
struct deferral;  // until when a task is put off

// The last release destroys the result, so it is for fibers and threads, which may block. Any.
inline void retain(fiber_record& f) noexcept { f.references.retain(); }
void release(fiber_record& f) noexcept;
void release_at_end(fiber_record& f) noexcept;  // the fiber's own, once it is done

// A message under way keeps the record, not the result. hold: by who has a reference.
inline void hold(fiber_record& f) noexcept { f.holds.fetch_add(1, std::memory_order_relaxed); }
void let_go(fiber_record& f) noexcept;

}  // namespace coir::sched
