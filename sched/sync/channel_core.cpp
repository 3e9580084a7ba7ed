// The waits of channels: of one push or pop, and of select.
#include <utility>

#include <coir/sched/cancellation.hpp>

#include "channel_match.hpp"
#include "select_chain.hpp"

namespace coir::sched {

template class basic_channel_core<channel_platform>;

namespace {

using channel_match = basic_channel_match<channel_platform>;
using channel_wait = basic_channel_wait<channel_platform>;

// The locks of the chain are held; they are released once the wait can be found. The case that was
// agreed on; null: the time was over. Throws if it was cancelled. In both, nothing has happened to
// any case.
channel_case* wait_for(waiter& me, std::span<channel_case> cases, channel_case* chain,
                       wait_kind kind, clock::time_point deadline) {
  channel_wait wait;
  wait.who = &me;
  wait.generation = me.claim.begin(outcome::waiting, may_be_cancelled(me));
  me.waits_for_id.store(0, std::memory_order_relaxed);
  me.waits_for.store(kind, std::memory_order_relaxed);
  for (channel_case& c : cases) {
    if (c.channel == nullptr) continue;
    c.wait = &wait;
    c.channel->link_locked(c);
    c.agreed = deal::none;
  }
  current_host().park(me,
                      {[](void* first, void*) noexcept -> waiter* {
                         unlock_chain(static_cast<channel_case*>(first));
                         return nullptr;
                       },
                       chain, nullptr},
                      deadline);
  me.waits_for.store(wait_kind::nothing, std::memory_order_relaxed);
  const outcome how = me.claim.finish();
  channel_case* const chosen = how == outcome::granted ? wait.chosen : nullptr;
  if (chosen == nullptr || cases.size() > 1) unlink_losers(cases, chosen);
  if (how == outcome::cancelled) throw_cancelled(me);
  return chosen;
}

// What the claimer has left in a case that was waited for.
deal settle_waited(channel_case& c) {
  if (c.agreed == deal::failed) std::rethrow_exception(std::move(c.error));
  channel_match m;
  m.agreed = c.agreed;
  m.slot = c.slot;
  return c.agreed = c.channel->settle(c.pushes, c.value, m);
}

// The lock is held, and there was no deal to be had; room for a deadline has to be made without it.
[[gnu::noinline]] deal wait_and_settle(waiter& me, channel_core& channel, bool pushes, void* value,
                                       clock::time_point deadline) {
  channel_case c;
  c.channel = &channel;
  c.value = value;
  c.pushes = pushes;
  for (;; channel.lock()) {
    if (deadline != never) {
      channel.unlock();
      current_host().make_room_for_deadline();
      channel.lock();
    }
    channel_match m;
    if (channel.match_locked(pushes, value, m)) {
      channel.unlock();
      return channel.settle(pushes, value, m);
    }
    const auto kind = pushes ? wait_kind::push : wait_kind::pop;
    if (wait_for(me, {&c, 1}, &c, kind, deadline) == nullptr) return deal::none;
    if (c.agreed != deal::again) return settle_waited(c);
  }
}

template <bool pushes>
deal offer(channel_core& channel, void* value, clock::time_point deadline) {
  waiter& me = *current_host().running;
  cancellation_point(me);
  channel_match m;
  channel.lock();
  if (channel.match_locked(pushes, value, m)) [[likely]] {
    channel.unlock();
    return channel.settle(pushes, value, m);
  }
  return wait_and_settle(me, channel, pushes, value, deadline);
}

template <bool pushes>
deal offer_now(channel_core& channel, void* value) {
  channel_match m;
  channel.lock();
  const bool matched = channel.match_locked(pushes, value, m);
  channel.unlock();
  return matched ? channel.settle(pushes, value, m) : deal::none;
}

// All locks held: one of those that can be had now, each with the same chance.
channel_case* match_any_locked(std::span<channel_case> cases, channel_case& first,
                               channel_match& m) noexcept {
  for (channel_case& c : cases) c.turn = &c;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::uint64_t left = cases.size() - i;
    const std::size_t drawn = i + (first.channel->random_locked() * left >> 32);
    channel_case& c = *std::exchange(cases[drawn].turn, cases[i].turn);
    if (c.channel != nullptr && c.channel->match_locked(c.pushes, c.value, m)) return &c;
  }
  return nullptr;
}

}  // namespace

deal offer_push(channel_core& channel, void* item, clock::time_point deadline) {
  return offer<true>(channel, item, deadline);
}
deal offer_pop(channel_core& channel, void* out, clock::time_point deadline) {
  return offer<false>(channel, out, deadline);
}
deal offer_push_now(channel_core& channel, void* item) { return offer_now<true>(channel, item); }
deal offer_pop_now(channel_core& channel, void* out) { return offer_now<false>(channel, out); }

std::size_t offer_any(std::span<channel_case> cases, clock::time_point deadline, bool may_wait) {
  waiter& me = *current_host().running;
  if (may_wait) cancellation_point(me);
  channel_case* const chain = chain_locks(cases);
  for (;;) {
    if (may_wait && deadline != never) current_host().make_room_for_deadline();
    channel_match m;
    lock_chain(chain);
    channel_case* c = chain != nullptr ? match_any_locked(cases, *chain, m) : nullptr;
    if (c != nullptr) {
      unlock_chain(chain);
      c->agreed = c->channel->settle(c->pushes, c->value, m);
      return static_cast<std::size_t>(c - cases.data());
    }
    if (!may_wait) return unlock_chain(chain), no_case;
    c = wait_for(me, cases, chain, wait_kind::select, deadline);
    if (c == nullptr) return no_case;
    if (c->agreed == deal::again) continue;
    settle_waited(*c);
    return static_cast<std::size_t>(c - cases.data());
  }
}

}  // namespace coir::sched
