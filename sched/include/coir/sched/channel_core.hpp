// A channel without its type: its slots, who waits, and who is matched with whom.
//
// Always true, while the lock is free:
//  - A slot is free, full, or in flight: owned by the one caller that fills or empties it.
//  - Nobody waits to pop while a slot is full, nor to push while one is free; a pop and a push that
//    wait at once belong to one select, which never matches itself.
//  - In a queue are only cases of waits that nobody has matched; whoever takes one out and claims
//    its wait owes it a deal, and then a wake.
//  - `closed_` with no slot full or in flight is for ever: drained.
//
// sched/README.md, "Channels and select", has the protocol.
#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>

#include <coir/fiber/intrusive_list.hpp>
#include <coir/sched/channel_items.hpp>
#include <coir/sched/clock.hpp>
#include <coir/sched/host.hpp>
#include <coir/sched/spin_lock.hpp>

namespace coir::sched {

template <class Platform>
class basic_channel_core;

// What a push or a pop has come to, and hence what its caller has to do once no lock is held.
enum class deal : std::uint8_t {
  none,     // nothing to be had
  done,     // the item has been moved
  slot,     // `slot` is its: to fill, or to empty
  partner,  // `partner` of the other side waits, claimed: to be served
  closed,
  again,   // its partner's call threw: look again, at the head of the queue
  failed,  // the move of its item threw `error`
};

template <class Platform>
struct basic_channel_case;

// A deal with what belongs to it.
template <class Platform>
struct basic_channel_match {
  deal agreed = deal::none;
  channel_slot* slot = nullptr;
  basic_channel_case<Platform>* partner = nullptr;
  basic_channel_case<Platform>* woken =
      nullptr;  // claimed, served: to be woken when no lock is held
};

// One wait, of one case or of all the cases of a select: claimed once, for one of them.
template <class Platform>
struct basic_channel_wait {
  typename Platform::waiter* who = nullptr;
  wait_generation generation = 0;
  basic_channel_case<Platform>* chosen = nullptr;  // the claimer's, until the wake
};

// A push or a pop that waits, or a case of a select; lies on its caller's stack.
template <class Platform>
struct basic_channel_case : fiber::intrusive_hook {
  basic_channel_core<Platform>* channel = nullptr;  // null: never ready
  void* value = nullptr;  // the item to push, or the std::optional to pop into
  bool pushes = false;
  deal agreed = deal::none;  // its owner's; while that waits, its claimer's, as slot and error
  channel_slot* slot = nullptr;
  std::exception_ptr error;
  basic_channel_wait<Platform>* wait = nullptr;  // set before it is linked

  basic_channel_case* next_woken = nullptr;
  basic_channel_case* next_locked = nullptr;  // of a select, in the order of addresses
  basic_channel_case* turn = nullptr;         // of a select, in random order

  void wake() noexcept { Platform::wake(*wait->who); }  // its claimer's last touch
};

// Claimed cases whose owners are to be woken when no lock is held.
template <class Platform>
class basic_woken_list {
 public:
  using channel_case = basic_channel_case<Platform>;
  void push(channel_case& c) noexcept {
    (last_ != nullptr ? last_->next_woken : first_) = &c;
    last_ = &c;
  }
  void wake_all() noexcept {
    for (channel_case* c = first_; c != nullptr;) {
      channel_case* const next = c->next_woken;  // c is gone once its owner runs
      c->wake();
      c = next;
    }
  }

 private:
  channel_case *first_ = nullptr, *last_ = nullptr;
};

template <class Platform>
class basic_channel_core {
 public:
  using channel_case = basic_channel_case<Platform>;
  using channel_match = basic_channel_match<Platform>;
  using woken_list = basic_woken_list<Platform>;

  // Throws std::length_error or std::bad_alloc. Nothing else of a channel allocates.
  basic_channel_core(std::size_t capacity, const item_functions&);
  ~basic_channel_core();  // with waiters: stops the process with a message
  basic_channel_core(const basic_channel_core&) = delete;
  basic_channel_core& operator=(const basic_channel_core&) = delete;

  void lock() noexcept { lock_.lock(); }
  void unlock() noexcept { lock_.unlock(); }

  // Lock held. Makes a deal for who offers an item, or an optional to pop into, if one can be had
  // now; whether there is one.
  bool match_locked(bool pushes, void* value, channel_match&) noexcept;
  void link_locked(channel_case&) noexcept;
  void unlink(channel_case&) noexcept;  // takes the lock; a case that is out already stays so

  // Lock free. Wakes who is served, and carries the deal out: done or closed. Throws what the
  // item's move throws, and then the channel is as before. Touches the channel no more once others
  // may destroy it.
  deal settle(bool pushes, void* value, const channel_match&);

  void close() noexcept;
  bool closed() const noexcept;
  bool drained() const noexcept;
  std::size_t size() const noexcept;
  std::size_t capacity() const noexcept { return capacity_; }
  std::uint32_t random_locked() noexcept;

 private:
  using cases = fiber::intrusive_list<channel_case>;
  bool match_push_locked(void* item, channel_match&) noexcept;
  bool match_pop_locked(void* out, channel_match&) noexcept;
  channel_case* refill_locked(channel_slot&) noexcept;
  channel_case* claim_first_locked(cases&) noexcept;
  void wake_with_locked(channel_case&, deal, woken_list&) noexcept;
  void wake_drained_locked(woken_list&) noexcept;
  void fill(void* item, channel_slot&);
  void take(void* out, channel_slot&);
  void serve(bool pushes, void* value, channel_case& partner);
  void hand_on(channel_slot&, bool in_front) noexcept;
  void release(channel_slot&) noexcept;
  bool fill_for(channel_case& pusher, channel_slot&) noexcept;
  channel_slot* free_slot_locked() noexcept;
  void append_locked(channel_slot&) noexcept;
  void prepend_locked(channel_slot&) noexcept;
  channel_slot* take_full_locked() noexcept;
  void free_locked(channel_slot&) noexcept;
  void* place(channel_slot&) const noexcept;

  const item_functions& items_;
  const std::size_t capacity_;
  std::byte* const slots_;

  mutable typename Platform::lock lock_;
  // All under lock_.
  bool closed_ = false;
  std::size_t used_ = 0;  // slots that have ever been; those behind are free and untouched
  channel_slot* free_ = nullptr;
  channel_slot *first_full_ = nullptr, *last_full_ = nullptr;
  std::size_t full_ = 0, in_flight_ = 0;
  std::uint64_t random_;
  cases pushers_, poppers_;
};

// The host's waiters and the production atomics; models have their own.
struct channel_platform {
  using lock = spin_lock;
  using waiter = sched::waiter;
  static void wake(waiter& w) noexcept { sched::wake(w); }
};
extern template class basic_channel_core<channel_platform>;

using channel_core = basic_channel_core<channel_platform>;
using channel_case = basic_channel_case<channel_platform>;

// A push or a pop of one channel: done, closed, or none: the time was over, and nothing has moved.
deal offer_push(channel_core&, void* item, clock::time_point deadline);
deal offer_pop(channel_core&, void* out, clock::time_point deadline);
// The same without waiting or being cancelled; none: none can be had.
deal offer_push_now(channel_core&, void* item);
deal offer_pop_now(channel_core&, void* out);

inline constexpr std::size_t no_case = ~std::size_t{};

// The same for the first of many that can be had: its index; its `agreed` is done or closed.
// no_case: the time was over, or, unless it may wait, none can be had.
std::size_t offer_any(std::span<channel_case>, clock::time_point deadline, bool may_wait);

}  // namespace coir::sched
