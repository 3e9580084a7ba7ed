// The members of basic_channel_core, for the production core and for its models.
#pragma once
#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>

#include <coir/sched/channel_core.hpp>

#include "../fatal.hpp"

namespace coir::sched {

inline std::byte* new_slots(std::size_t capacity, const item_functions& items) {
  if (capacity == 0) return nullptr;
  if (capacity > std::numeric_limits<std::ptrdiff_t>::max() / items.slot_size)
    throw std::length_error("coir: a channel of more items than memory can hold");
  return static_cast<std::byte*>(
      ::operator new(capacity* items.slot_size, std::align_val_t(items.slot_alignment)));
}

template <class Platform>
basic_channel_core<Platform>::basic_channel_core(std::size_t capacity, const item_functions& items)
    : items_(items),
      capacity_(capacity),
      slots_(new_slots(capacity, items)),
      random_(reinterpret_cast<std::uintptr_t>(this) * 0x9e3779b97f4a7c15U | 1) {}

template <class Platform>
basic_channel_core<Platform>::~basic_channel_core() {
  lock_.lock();  // whoever has just served us may not have let go of it yet
  if (!pushers_.empty() || !poppers_.empty())
    fatal("a channel was destroyed while somebody waited for it");
  lock_.unlock();
  while (channel_slot* s = take_full_locked()) items_.drop(place(*s));
  ::operator delete(slots_, std::align_val_t(items_.slot_alignment));
}

// --- matching, with the lock held ---

template <class Platform>
inline bool basic_channel_core<Platform>::match_locked(bool pushes, void* value,
                                                       channel_match& m) noexcept {
  return pushes ? match_push_locked(value, m) : match_pop_locked(value, m);
}

template <class Platform>
inline bool basic_channel_core<Platform>::match_push_locked(void* item, channel_match& m) noexcept {
  if (closed_) {
    m.agreed = deal::closed;
  } else if (channel_case* const popper = claim_first_locked(poppers_)) {
    if (items_.under_lock) {
      items_.hand_over(popper->value, item);
      popper->agreed = m.agreed = deal::done;
      m.woken = popper;
    } else {
      m.agreed = deal::partner;
      m.partner = popper;
    }
  } else if (channel_slot* const slot = free_slot_locked()) {
    if (items_.under_lock) {
      items_.fill(place(*slot), item);
      append_locked(*slot);
      m.agreed = deal::done;
    } else {
      ++in_flight_;
      m.agreed = deal::slot;
      m.slot = slot;
    }
  } else {
    return false;
  }
  return true;
}

template <class Platform>
inline bool basic_channel_core<Platform>::match_pop_locked(void* out, channel_match& m) noexcept {
  if (channel_slot* const slot = take_full_locked()) {
    if (items_.under_lock) {
      items_.take(out, place(*slot));
      m.agreed = deal::done;
      m.woken = refill_locked(*slot);
    } else {
      ++in_flight_;
      m.agreed = deal::slot;
      m.slot = slot;
    }
  } else if (channel_case* const pusher = claim_first_locked(pushers_)) {
    if (items_.under_lock) {
      items_.hand_over(out, pusher->value);
      pusher->agreed = m.agreed = deal::done;
      m.woken = pusher;
    } else {
      m.agreed = deal::partner;
      m.partner = pusher;
    }
  } else if (closed_ && in_flight_ == 0) {
    m.agreed = deal::closed;
  } else {
    return false;
  }
  return true;
}

// An emptied slot takes the item of who waits to push, who is to be woken.
template <class Platform>
inline auto basic_channel_core<Platform>::refill_locked(channel_slot& s) noexcept -> channel_case* {
  channel_case* const pusher = claim_first_locked(pushers_);
  if (pusher != nullptr) {
    items_.fill(place(s), pusher->value);
    append_locked(s);
    pusher->agreed = deal::done;
  } else {
    free_locked(s);
  }
  return pusher;
}

// The first whose wait has not been claimed for something else: it is ours now, and out. Those that
// lost unlink nothing.
template <class Platform>
inline auto basic_channel_core<Platform>::claim_first_locked(cases& in) noexcept -> channel_case* {
  while (channel_case* const c = in.pop_front()) {
    if (!c->wait->who->claim.claim(c->wait->generation, outcome::granted)) continue;
    c->wait->chosen = c;
    return c;
  }
  return nullptr;
}

template <class Platform>
void basic_channel_core<Platform>::wake_with_locked(channel_case& c, deal what,
                                                    woken_list& woken) noexcept {
  c.agreed = what;
  woken.push(c);
}

// Nothing will ever come: those who wait to pop learn it.
template <class Platform>
void basic_channel_core<Platform>::wake_drained_locked(woken_list& woken) noexcept {
  if (!closed_ || full_ != 0 || in_flight_ != 0) return;
  while (channel_case* const c = claim_first_locked(poppers_))
    wake_with_locked(*c, deal::closed, woken);
}

template <class Platform>
void basic_channel_core<Platform>::link_locked(channel_case& c) noexcept {
  cases& line = c.pushes ? pushers_ : poppers_;
  if (c.agreed == deal::again)
    line.push_front(c);
  else
    line.push_back(c);
}

template <class Platform>
void basic_channel_core<Platform>::unlink(channel_case& c) noexcept {
  lock_.lock();
  if (c.linked()) cases::erase(c);
  lock_.unlock();
}

// --- carrying out, with the lock free ---

template <class Platform>
inline deal basic_channel_core<Platform>::settle(bool pushes, void* value, const channel_match& m) {
  if (m.woken != nullptr) m.woken->wake();
  if (m.agreed == deal::done || m.agreed == deal::closed) return m.agreed;
  if (m.agreed == deal::partner)
    serve(pushes, value, *m.partner);
  else
    pushes ? fill(value, *m.slot) : take(value, *m.slot);
  return deal::done;
}

template <class Platform>
void basic_channel_core<Platform>::serve(bool pushes, void* value, channel_case& partner) {
  // The partner stays parked until it is woken: its item, or its optional, is ours.
  try {
    items_.hand_over(pushes ? partner.value : value, pushes ? value : partner.value);
  } catch (...) {
    partner.agreed = deal::again;
    partner.wake();
    throw;
  }
  partner.agreed = deal::done;
  partner.wake();
}

template <class Platform>
void basic_channel_core<Platform>::fill(void* item, channel_slot& s) {
  try {
    items_.fill(place(s), item);
  } catch (...) {
    release(s);
    throw;
  }
  hand_on(s, false);
}

template <class Platform>
void basic_channel_core<Platform>::take(void* out, channel_slot& s) {
  try {
    items_.take(out, place(s));
  } catch (...) {
    hand_on(s, true);
    throw;
  }
  release(s);
}

// Filled, or full again because its item would not move, as if nobody had tried: it goes to who
// waits for it, still in flight, or to its end of the others.
template <class Platform>
void basic_channel_core<Platform>::hand_on(channel_slot& s, bool in_front) noexcept {
  woken_list woken;
  lock_.lock();
  if (channel_case* const popper = claim_first_locked(poppers_)) {
    popper->slot = &s;
    wake_with_locked(*popper, deal::slot, woken);
  } else {
    if (in_front)
      prepend_locked(s);
    else
      append_locked(s);
    --in_flight_;
  }
  lock_.unlock();
  woken.wake_all();
}

// Empty: it takes the item of who waits to push, so that items go in as their pushers came; or it
// is free.
template <class Platform>
void basic_channel_core<Platform>::release(channel_slot& s) noexcept {
  for (;;) {
    woken_list woken;
    lock_.lock();
    channel_case* const pusher = claim_first_locked(pushers_);
    if (pusher == nullptr) {
      free_locked(s);
      --in_flight_;
      wake_drained_locked(woken);
    }
    lock_.unlock();
    if (pusher == nullptr) return woken.wake_all();
    if (fill_for(*pusher, s)) return;
  }
}

// Its pusher waits, claimed, and learns what comes of it.
template <class Platform>
bool basic_channel_core<Platform>::fill_for(channel_case& pusher, channel_slot& s) noexcept {
  try {
    items_.fill(place(s), pusher.value);
  } catch (...) {
    pusher.error = std::current_exception();
    pusher.agreed = deal::failed;
    pusher.wake();
    return false;
  }
  hand_on(s, false);
  pusher.agreed = deal::done;
  pusher.wake();
  return true;
}

// --- slots, with the lock held ---

template <class Platform>
inline channel_slot* basic_channel_core<Platform>::free_slot_locked() noexcept {
  if (channel_slot* const s = free_) {
    free_ = s->next;
    return s;
  }
  if (used_ == capacity_) return nullptr;
  return ::new (slots_ + used_++ * items_.slot_size) channel_slot{nullptr};
}

template <class Platform>
inline void basic_channel_core<Platform>::free_locked(channel_slot& s) noexcept {
  s.next = free_;
  free_ = &s;
}

template <class Platform>
inline void basic_channel_core<Platform>::append_locked(channel_slot& s) noexcept {
  s.next = nullptr;
  (first_full_ != nullptr ? last_full_->next : first_full_) = &s;
  last_full_ = &s;
  ++full_;
}

template <class Platform>
void basic_channel_core<Platform>::prepend_locked(channel_slot& s) noexcept {
  s.next = first_full_;
  if (first_full_ == nullptr) last_full_ = &s;
  first_full_ = &s;
  ++full_;
}

template <class Platform>
inline channel_slot* basic_channel_core<Platform>::take_full_locked() noexcept {
  channel_slot* const s = first_full_;
  if (s != nullptr) {
    first_full_ = s->next;
    --full_;
  }
  return s;
}

template <class Platform>
inline void* basic_channel_core<Platform>::place(channel_slot& s) const noexcept {
  return reinterpret_cast<std::byte*>(&s) + items_.place_offset;
}

// --- the whole ---

template <class Platform>
void basic_channel_core<Platform>::close() noexcept {
  woken_list woken;
  lock_.lock();
  closed_ = true;
  while (channel_case* const c = claim_first_locked(pushers_))
    wake_with_locked(*c, deal::closed, woken);
  wake_drained_locked(woken);
  lock_.unlock();
  woken.wake_all();
}

template <class Platform>
bool basic_channel_core<Platform>::closed() const noexcept {
  lock_.lock();
  const bool is = closed_;
  lock_.unlock();
  return is;
}

template <class Platform>
bool basic_channel_core<Platform>::drained() const noexcept {
  lock_.lock();
  const bool is = closed_ && full_ == 0 && in_flight_ == 0;
  lock_.unlock();
  return is;
}

template <class Platform>
std::size_t basic_channel_core<Platform>::size() const noexcept {
  lock_.lock();
  const std::size_t n = full_;
  lock_.unlock();
  return n;
}

// xorshift64*.
template <class Platform>
std::uint32_t basic_channel_core<Platform>::random_locked() noexcept {
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return static_cast<std::uint32_t>(random_ * 0x2545f4914f6cdd1dU >> 32);
}

}  // namespace coir::sched
