// The waits of channels: of one push or pop, and of select.
#include <utility>

#include <coir/sched/cancellation.hpp>

#include "channel_match.hpp"

namespace coir::sched {

template class basic_channel_core<channel_platform>;

namespace {

using woken_list = basic_woken_list<channel_platform>;
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

// All locks held: one of those that can be had now, each with the same chance.
channel_case* match_any_locked(std::span<channel_case> cases, channel_case& first,
                               woken_list& woken) noexcept {
  for (std::size_t i = 0; i < cases.size(); ++i) cases[i].turn = &cases[i];
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const std::uint64_t left = cases.size() - i;
    const std::size_t drawn = i + (first.channel->random_locked() * left >> 32);
    channel_case& c = *std::exchange(cases[drawn].turn, cases[i].turn);
    if (c.channel != nullptr && c.channel->match_locked(c, woken)) return &c;
  }
  return nullptr;
}

void make_room_for(clock::time_point deadline) {
  if (deadline != never) current_host().make_room_for_deadline();
}

}  // namespace

bool offer_now(channel_case& c) {
  woken_list woken;
  c.channel->lock();
  const bool matched = c.channel->match_locked(c, woken);
  c.channel->unlock();
  if (!matched) return false;
  woken.wake_all();
  c.channel->settle(c);
  return true;
}

bool offer(channel_case& c, clock::time_point deadline) {
  waiter& me = *current_host().running;
  cancellation_point(me);
  do {
    make_room_for(deadline);
    woken_list woken;
    c.channel->lock();
    if (c.channel->match_locked(c, woken)) {
      c.channel->unlock();
      woken.wake_all();
      break;
    }
    const auto kind = c.pushes ? wait_kind::push : wait_kind::pop;
    if (wait_for(me, {&c, 1}, &c, kind, deadline) == nullptr) return false;
  } while (c.agreed == deal::again);
  if (c.agreed != deal::done) c.channel->settle(c);
  return true;
}

std::size_t offer_any(std::span<channel_case> cases, clock::time_point deadline, bool may_wait) {
  waiter& me = *current_host().running;
  if (may_wait) cancellation_point(me);
  channel_case* const chain = chain_locks(cases);
  channel_case* chosen = nullptr;
  do {
    if (may_wait) make_room_for(deadline);
    woken_list woken;
    lock_chain(chain);
    if (chain != nullptr) chosen = match_any_locked(cases, *chain, woken);
    if (chosen != nullptr || !may_wait) {
      unlock_chain(chain);
      if (chosen == nullptr) return no_case;
      woken.wake_all();
      break;
    }
    chosen = wait_for(me, cases, chain, wait_kind::select, deadline);
    if (chosen == nullptr) return no_case;
  } while (chosen->agreed == deal::again);
  chosen->channel->settle(*chosen);
  return static_cast<std::size_t>(chosen - cases.data());
}

}  // namespace coir::sched
