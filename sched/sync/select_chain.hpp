// The channels of one select: their locks as a chain, and the way out of their queues. For the
// production core and for its models.
#pragma once
#include <functional>
#include <span>
#include <utility>

#include <coir/sched/channel_core.hpp>

namespace coir::sched {

// Their locks, each once, in the order of addresses; the first case of the chain.
template <class Platform>
basic_channel_case<Platform>* chain_locks(std::span<basic_channel_case<Platform>> cases) noexcept {
  basic_channel_case<Platform>* first = nullptr;
  for (auto& c : cases) {
    if (c.channel == nullptr) continue;
    auto** at = &first;
    while (*at != nullptr && std::less<>{}((*at)->channel, c.channel)) at = &(*at)->next_locked;
    if (*at != nullptr && (*at)->channel == c.channel) continue;
    c.next_locked = std::exchange(*at, &c);
  }
  return first;
}

template <class Platform>
void lock_chain(basic_channel_case<Platform>* c) noexcept {
  for (; c != nullptr; c = c->next_locked) c->channel->lock();
}

// The cases may lie on the stack of a fiber that parks and is woken meanwhile: it unlinks the cases
// that lost, and so cannot return before the last lock of the chain is free. (Was the last one's
// case chosen, there is nothing to be read after it.)
template <class Platform>
void unlock_chain(basic_channel_case<Platform>* c) noexcept {
  while (c != nullptr) {
    auto* const next = c->next_locked;
    c->channel->unlock();
    c = next;
  }
}

// The fiber's part once it runs again: all cases but the chosen one leave their queues.
template <class Platform>
void unlink_losers(std::span<basic_channel_case<Platform>> cases,
                   const basic_channel_case<Platform>* chosen) noexcept {
  for (auto& c : cases)
    if (&c != chosen && c.channel != nullptr) c.channel->unlink(c);
}

}  // namespace coir::sched
